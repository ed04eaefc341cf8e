"""`--mode=sample`: draws, renders and writes samples, picture by picture."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cinn_jax import likelihood
from cinn_jax.images import writing
from cinn_jax.runtime import storage, threads
from cinn_jax.sampling import temperatures as names
from cinn_jax.sampling.choice import ALL, Choice
from cinn_jax.sampling.classes import Classes
from cinn_jax.sampling.denoising import removable_noise
from cinn_jax.sampling.draw import check_temperatures, ranked_at
from cinn_jax.sampling.forecast import Forecaster
from cinn_jax.sampling.form import Form
from cinn_jax.sampling.inputs import Item, find
from cinn_jax.sampling.numbered import CHUNK, draw_ranked
from cinn_jax.sampling.photos import NOTHING, Photos, Steering
from cinn_jax.sampling.pictures import Pictures
from cinn_jax.sampling.results import Results
from cinn_jax.sampling.subject import Sampler
from cinn_jax.workdir import calibration_file
from cinn_jax.workdir.trained import Trained, restore

# Samplers by task.
SAMPLERS: Mapping[str, Callable[..., Sampler]] = {
  "class_conditional": Classes,
  "color_mnist": Classes,
  "colorize": Photos,
  "colorize_rgb": Pictures,
  "generate": Classes,
  "inpaint": Pictures,
  "sketch": Pictures,
  "super_resolution": Pictures,
}
# Total number of pixels of the results that are rendered at a time.
_PIXELS = 2**28


def sample(
  workdir,
  outputs,
  *,
  data: Mapping[str, Any] | None = None,
  inputs: Sequence[str] = (),
  num_samples: int = 8,
  choice: Choice = ALL,
  temperatures: Sequence[float | list[float]] = (1.0,),
  seed: int = 0,
  degrade: bool = False,
  steering: Steering = NOTHING,
  recursive: bool = False,
  output_format: str = "",
  quality: int = writing.QUALITY,
  odds: bool = False,
  denoise: bool = False,
  calibrated: str | os.PathLike[str] | None = None,
) -> dict[str, str]:
  """Draws samples with a trained run, and writes them.

  Writes a file `<name>_<k>` for each sample, most likely first; contact sheets
  `sheet.png`, `sheet-2.png` and so on; and `samples.json`, which lists samples
  with their bits/dim, their numbers among the draws, from 0, and the settings
  that made them. Several temperatures have a folder each.

  Sample k of a picture depends only on the picture, the seed and k. An
  interrupted batch goes on from where it stopped. Files that this function did
  not make are never overwritten. If one picture fails, the others are still
  answered.

  Args:
    workdir: Folder of a trained run.
    outputs: Folder for results; created if needed.
    data: Settings that override the `data` section of the run's config, for
      tasks that answer test pictures if there are no inputs.
    inputs: Files, folders and patterns, see `inputs.find`. Runs whose condition
      is a class take none.
    num_samples: Number of samples to draw per picture.
    choice: Choice of those to write, see `choice.Choice`. CAFLOW's figures show
      the likeliest 10 of 25.
    temperatures: Scales of the latents; each is a number, or one per level.
    seed: Seed for the latents.
    degrade: Takes inputs as whole pictures, see `pictures.Pictures`.
    steering: Hints and a reference for colorization, or small results, which
      go to the subfolder `preview`.
    recursive: Takes subfolders too, see `inputs.find`.
    output_format: Format of the results, see `form.Form`.
    quality: Quality of JPEG and WebP, 1 to 100.
    odds: Tells the odds of colours of photographs, see `forecast`: in words, in
      samples.json, and as a map `<name>_odds.png` of how unsure each pixel is.
    denoise: Removes the Gaussian noise of training, see `denoising`. The
      likelihoods, also those that rank samples, remain those of the noisy ones.
    calibrated: Folder of the run's calibration for `odds`, if it is not next to
      the run.

  Returns:
    The reason of each failure, by input.

  Raises:
    FileNotFoundError: if there is no trained checkpoint or no matching file.
    ValueError: for inputs or options that the run's task does not take.
  """
  choice.check(num_samples)
  form = Form(output_format, quality)
  form.check()
  # Inputs are listed before the first output exists.
  found = _found(inputs, outputs, recursive)
  if steering.preview:
    # The numbers on their sheet are for --only, which writes next to them.
    outputs = storage.path(outputs) / "preview"
  trained = restore(workdir, data)
  check_temperatures(trained.flow, trained.variables, temperatures)
  has_likelihood = trained.flow.objective is None
  if choice.keep is not None and not has_likelihood:
    raise ValueError(
      "--keep takes the likeliest samples, and this run has no likelihood:"
      " leave it out, or choose by --diverse or --only."
    )
  if odds and denoise:
    raise ValueError(
      "--odds counts samples as the run draws them: leave out --denoise."
    )
  noise = removable_noise(trained.flow, trained.task) if denoise else 0.0
  sampler = _sampler(trained, degrade, steering, noise)
  forecaster = None
  if odds:
    forecaster = _forecaster(
      workdir, calibrated, trained, temperatures, seed, steering
    )
  items = sampler.items(found)
  settings = {
    **_settings(trained, num_samples, seed, degrade, steering),
    **({"data": dict(data)} if data and not found else {}),
    "output_format": output_format,
    "quality": quality,
    # `only` belongs to each picture, so that a folder may hold several.
    **{k: v for k, v in choice._asdict().items() if v and k != "only"},
    **({"odds": forecaster.settings()} if forecaster else {}),
    **({"denoise": noise} if denoise else {}),
  }
  folders = names.folders(outputs, temperatures)
  results = [
    Results(
      folder,
      {**settings, "temperature": temperature},
      sampler.titles,
      _caption(temperature, num_samples, choice, has_likelihood)
      + (", noise removed" if denoise else ""),
      only=sorted(choice.only),
    )
    for folder, temperature in folders
  ]

  def answer(item: Item):
    """Returns (subject, results per temperature, the error or None).

    A result is the samples and the odds, or None if they already exist.
    """

    def draw(temperature):
      ranked = draw_ranked(
        subject.draw,
        seed,
        num_samples,
        temperature,
        first=item.first,
        chunk=subject.chunk,
      )
      told = forecaster and forecaster(subject, temperature, item.first)
      return choice(ranked), told

    try:
      subject = sampler.load(item)
      drawn = [
        None if result.finished(item) else draw(temperature)
        for result, (_, temperature) in zip(results, folders, strict=True)
      ]
    except Exception as error:  # Any error concerns this item alone.
      return None, None, error
    return subject, drawn, None

  answers = zip(items, threads.in_order(answer, items), strict=True)
  for k, (item, (subject, drawn, error)) in enumerate(answers, 1):
    place = f"[{k}/{len(items)}] {item.path or item.name}"
    if error is None:
      error = _write(item, subject, drawn, results, form)
    if error is not None:
      reason = _reason(error, item)
      print(f"{place}: failed: {reason}")
      for result in results:
        result.fail(item, reason)
      continue
    done = "done before" if not any(drawn) else choice.name(num_samples)
    notes = filter(None, (done, form.note(subject)))
    print(f"{place}: {'; '.join(notes)}")
    for _, told in filter(None, drawn):
      if told is not None:
        print(f"  {'; '.join(told.words)}")
  return _finish(results)


def _forecaster(workdir, calibrated, trained, temperatures, seed, steering):
  forecaster = Forecaster(
    trained,
    calibration_file.read(workdir, calibrated),
    temperatures=temperatures,
    seed=seed,
    is_steered=bool(steering.hints) or steering.reference is not None,
  )
  if forecaster.note:
    print(f"Odds without conformal intervals: {forecaster.note}.")
  return forecaster


def _finish(results):
  """Writes the sheets and lists of all temperatures; returns the failures."""
  failed: dict[str, str] = {}
  for result in results:
    sheets = result.finish()
    failed |= result.failed
    where = f", {', '.join(sheets)}" if sheets else ""
    count = f"{len(result):,} picture{'s' if len(result) != 1 else ''}"
    print(f"Wrote {result.folder}: samples of {count}{where}.")
  return failed


def _caption(temperature, num_samples, choice, has_likelihood):
  text = ranked_at(temperature, has_likelihood=has_likelihood)
  if choice.diverse is not None:
    text = f"the largest share first, temperature {names.name(temperature)}"
  return f"{choice.name(num_samples)}: {text}" if any(choice) else text


def _found(inputs, outputs, recursive):
  return find(inputs, outputs=outputs, recursive=recursive) if inputs else []


def _sampler(trained, degrade, steering, noise):
  name = trained.config["task"]["name"]
  # Only some samplers are for tasks with noise that can be removed.
  options = {"denoise": noise} if noise else {}
  if steering.is_empty:
    return SAMPLERS[name](trained, degrade=degrade, **options)
  if name != "colorize":
    raise ValueError(
      "--hints, --reference and --preview are for colorization, not for"
      f" {name}: leave them out."
    )
  return Photos(trained, degrade=degrade, steering=steering, **options)


def _settings(trained: Trained, num_samples, seed, degrade, steering):
  """Returns all settings that samples depend on, except the temperature."""
  return {
    "task": trained.config["task"],
    "step": trained.step,
    "checkpoint": trained.digest,
    "num_samples": num_samples,
    "seed": seed,
    "degrade": degrade,
    **_steering(steering),
  }


def _steering(steering):
  if steering.is_empty:
    return {}
  reference = steering.reference
  pixels = b"" if reference is None else np.ascontiguousarray(reference).data
  return {
    "hints": steering.hints,
    "reference": hashlib.sha256(pixels).hexdigest()[:16],
    "preview": steering.preview,
  }


def _write(item, subject, drawn, results, form):
  """Writes an item's samples at each temperature; returns an error or None."""
  size = max(1, min(CHUNK, _PIXELS // subject.pixels))
  try:
    for result, pair in zip(results, drawn, strict=True):
      if pair is None:
        result.keep(item, subject.head)
        continue
      ranked, forecast = pair
      result.add(
        item,
        subject.head,
        likelihood.bits_per_dim(ranked.log_prob, subject.dims),
        ranked,
        ((ranks, subject.render(x)) for ranks, x in ranked.chunks(size)),
        form.suffix(subject),
        functools.partial(form.save, subject),
        forecast,
      )
  except Exception as error:
    return error
  return None


def _reason(error, item):
  """Returns one line that says what went wrong with an item."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0].removeprefix(f"{item.path}: ")
