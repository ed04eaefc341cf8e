"""`--mode=sample`: draws, renders and writes samples, picture by picture."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cinn_jax import likelihood
from cinn_jax.images import writing
from cinn_jax.runtime import threads
from cinn_jax.sampling import temperatures as names
from cinn_jax.sampling.classes import Classes
from cinn_jax.sampling.draw import ranked_at
from cinn_jax.sampling.inputs import Item, find
from cinn_jax.sampling.numbered import CHUNK, draw_ranked
from cinn_jax.sampling.photos import Photos
from cinn_jax.sampling.pictures import Pictures
from cinn_jax.sampling.results import Results, as_uint8
from cinn_jax.sampling.subject import Sampler, Subject
from cinn_jax.workdir import saved
from cinn_jax.workdir.trained import Trained, restore

# By task.
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
FORMATS = ("png", "jpg", "webp", "tif")
# Pixels of results that are rendered at a time.
_PIXELS = 2**28


def sample(
  workdir,
  outputs,
  *,
  inputs: Sequence[str] = (),
  num_samples: int = 8,
  keep: int | None = None,
  temperatures: Sequence[float | list[float]] = (1.0,),
  seed: int = 0,
  degrade: bool = False,
  recursive: bool = False,
  output_format: str = "",
  quality: int = writing.QUALITY,
) -> dict[str, str]:
  """Draws samples with a trained run, and writes them.

  Writes `<name>_<k>` per sample, most likely first; contact sheets `sheet.png`,
  `sheet-2.png` and so on; and `samples.json`, which lists them with their
  bits/dim, which draws they are, counted from 0, and what made them. Several
  temperatures have a folder each.

  Sample k of a picture depends only on the picture, the seed and k. An
  interrupted batch goes on from where it stopped. Files that this function did
  not make are never written over. If one picture fails, the others are still
  answered.

  Args:
    workdir: Folder of a trained run.
    outputs: Folder for results; created if needed.
    inputs: Files, folders and patterns, see `inputs.find`. Runs whose condition
      is a class take none.
    num_samples: Samples per picture that are drawn.
    keep: Samples per picture that are written, the likeliest; None for all.
      CAFLOW's figures show the likeliest 10 of 25.
    temperatures: Scales of the latents; each is a number, or one per level.
    seed: Seed for the latents.
    degrade: Take inputs as whole pictures, see `pictures.Pictures`.
    recursive: Take subfolders too, see `inputs.find`.
    output_format: Format of the results: one of `FORMATS`, or "" for that of
      each input as far as it keeps all of the result.
    quality: Quality of JPEG and WebP, 1 to 100.

  Returns:
    The reason of each failure, by input.

  Raises:
    FileNotFoundError: if there is no trained checkpoint or no matching file.
    ValueError: for inputs or options that the run's task does not take.
  """
  _check_keep(keep, num_samples)
  # All inputs are known before the first output.
  found = _found(inputs, outputs, recursive)
  trained = restore(workdir)
  sampler = SAMPLERS[trained.config["task"]["name"]](trained, degrade=degrade)
  items = sampler.items(found)
  if output_format not in ("", *FORMATS):
    raise ValueError(
      f"unknown output format {output_format!r}, expected one of"
      f" {', '.join(FORMATS)}."
    )
  settings = {
    **_settings(trained, workdir, num_samples, seed, degrade),
    "output_format": output_format,
    "quality": quality,
    **({} if keep is None else {"keep": keep}),
  }
  form = _Form(output_format, quality)
  folders = names.folders(outputs, temperatures)
  results = [
    Results(
      folder,
      {**settings, "temperature": temperature},
      sampler.titles,
      _caption(temperature, num_samples, keep),
    )
    for folder, temperature in folders
  ]

  def answer(item: Item):
    """Returns (subject, its samples per temperature, the error or None)."""
    try:
      subject = sampler.load(item)
      drawn = [
        None
        if result.finished(item)
        else draw_ranked(
          subject.draw,
          seed,
          num_samples,
          temperature,
          first=item.first,
          keep=keep,
          chunk=subject.chunk,
        )
        for result, (_, temperature) in zip(results, folders, strict=True)
      ]
    except Exception as error:  # Any error concerns this item alone.
      return None, None, error
    return subject, drawn, None

  for k, (item, (subject, drawn, error)) in enumerate(
    zip(items, threads.in_order(answer, items), strict=True), 1
  ):
    place = f"[{k}/{len(items)}] {item.path or item.name}"
    if error is None:
      error = _write(item, subject, drawn, results, form)
    if error is not None:
      reason = _reason(error, item)
      print(f"{place}: failed: {reason}")
      for result in results:
        result.fail(item, reason)
      continue
    done = "done before" if not any(drawn) else _count(num_samples, keep)
    print(", ".join(filter(None, (f"{place}: {subject.note}", done))))
  failed: dict[str, str] = {}
  for result in results:
    sheets = result.finish()
    failed |= result.failed
    where = f", {', '.join(sheets)}" if sheets else ""
    count = f"{len(result):,} picture{'s' if len(result) != 1 else ''}"
    print(f"Wrote {result.folder}: samples of {count}{where}.")
  return failed


def _check_keep(keep, num_samples):
  if keep is not None and not 1 <= keep <= num_samples:
    raise ValueError(
      f"--keep={keep} of --num_samples={num_samples}: expected 1 to"
      f" {num_samples}, or more samples to keep them from."
    )


def _count(num_samples, keep):
  if keep is None:
    return f"{num_samples} samples"
  return f"the likeliest {keep} of {num_samples} samples"


def _caption(temperature, num_samples, keep):
  text = ranked_at(temperature)
  return text if keep is None else f"{_count(num_samples, keep)}: {text}"


def _found(inputs, outputs, recursive):
  return find(inputs, outputs=outputs, recursive=recursive) if inputs else []


def _settings(trained: Trained, workdir, num_samples, seed, degrade):
  """Returns all settings that samples depend on, but the temperature."""
  checksums = saved.read_checksums(workdir, trained.step)
  digest = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode())
  return {
    "task": trained.config["task"],
    "step": trained.step,
    "checkpoint": digest.hexdigest()[:16],
    "num_samples": num_samples,
    "seed": seed,
    "degrade": degrade,
  }


class _Form(NamedTuple):
  """The files that results become."""

  output_format: str
  quality: int

  def suffix(self, subject: Subject) -> str:
    return f".{self.output_format}" if self.output_format else subject.suffix

  def save(self, subject, path, picture):
    if path.suffix.lower() not in writing.SUFFIXES[picture.dtype.name]:
      picture = as_uint8(picture)
    writing.save_photo(path, picture, subject.metadata, quality=self.quality)


def _write(item, subject, drawn, results, form):
  """Writes an item's samples of each temperature; returns what went wrong."""
  size = max(1, min(CHUNK, _PIXELS // subject.pixels))
  try:
    for result, ranked in zip(results, drawn, strict=True):
      if ranked is None:
        result.keep(item, subject.head)
        continue
      result.add(
        item,
        subject.head,
        likelihood.bits_per_dim(ranked.log_prob, subject.dims),
        ranked.numbers,
        ((first, subject.render(x)) for first, x in ranked.chunks(size)),
        form.suffix(subject),
        functools.partial(form.save, subject),
      )
  except Exception as error:
    return error
  return None


def _reason(error, item):
  """One line on what went wrong with an item."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0].removeprefix(f"{item.path}: ")
