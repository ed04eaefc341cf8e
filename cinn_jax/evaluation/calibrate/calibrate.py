"""`--mode=calibrate`: measures the odds of a run's samples on test pictures."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cinn_jax.data import derived
from cinn_jax.data.base import Source
from cinn_jax.evaluation.calibrate import (
  conformal,
  draws,
  latents,
  levels,
  lines,
  odds,
  pictures,
  regions,
)
from cinn_jax.evaluation.calibrate.latents import Latents
from cinn_jax.evaluation.calibrate.pool import Pool
from cinn_jax.experiment.build import open_source
from cinn_jax.images import writing
from cinn_jax.images.regions import coarser
from cinn_jax.runtime import processes
from cinn_jax.sampling import temperatures as names
from cinn_jax.sampling.draw import Sampling, check_temperatures
from cinn_jax.workdir import calibration_file
from cinn_jax.workdir.results_folder import results_folder
from cinn_jax.workdir.trained import Trained, restore

TASKS = ("colorize", "colorize_rgb", "inpaint", "sketch", "super_resolution")
NUM_SAMPLES = 99
# With fewer samples there is no central 90 % interval; with fewer pictures,
# half of them do not give a conformal one.
MIN_SAMPLES, MIN_PICTURES = 19, 20
# Number of training pictures whose statistics are a guess without a model.
_CLIMATOLOGY = 1000
_MARGINAL = (0.05, 0.95)


def calibrate(
  workdir: str | os.PathLike,
  *,
  outputs: str | os.PathLike | None = None,
  data: Mapping[str, Any] | None = None,
  sampling: Sampling = Sampling(NUM_SAMPLES),
  num_pictures: int = 0,
  level: int = 0,
) -> None:
  """Calibrates a trained run: prints tables, and writes them with pictures.

  Writes `calibration.json`, which `--mode=sample --odds` and `--mode=report`
  read, and pictures in `calibration/`. True pictures get the noise of training,
  since the flow describes noisy pictures. A temperature for each level is
  fitted to the latents of the validation pictures, and evaluated on the test
  pictures.

  Args:
    workdir: A trained run, as `restore` takes it.
    outputs: Folder for the results; None for `results_folder`.
    data: Settings that override the `data` section of the run's config.
    sampling: Number of samples, temperatures and seed. With several
      temperatures there are tables for each.
    num_pictures: Number of pictures, spread over each split; 0 for all.
    level: For a wavelet flow, the only level to sample, named by its cells; 0
      for the whole flow. The base alone sets the means of regions, and is
      sampled in a fraction of the time; HPD ranks are then those of the base.
      Latents are always measured at all levels.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
    ValueError: for a task whose conditions are not pictures, for too few
      samples or pictures, or for a level that does not exist.
  """
  trained = restore(workdir, data)
  _check(trained, sampling, num_pictures)
  folder = results_folder(workdir if outputs is None else outputs)
  test, validation = (
    _spread(open_source(trained.config, trained.task, split), num_pictures)
    for split in ("test", "validation")
  )
  if len(test) < MIN_PICTURES:
    raise ValueError(
      f"{test.name} has {len(test)} pictures, but a calibration needs at least"
      f" {MIN_PICTURES}."
    )
  print(
    f"{workdir} at step {trained.step:,}; {len(test):,} pictures of"
    f" {test.name}, listing {test.listing_hash}; {sampling.num_samples} samples"
    " of each."
  )
  whole = draws.make_subject(trained.flow, trained.variables, trained.task)
  sampled, scales = whole, sampling.temperatures
  if level:
    sampled = levels.of_level(trained, level)
    scales = [levels.scale_of(scale, trained, level) for scale in scales]

  def batches(source, title, num_samples=1):
    return draws.batches_of(source, trained.task, num_samples, title)

  seed = sampling.seed
  fitted, seen = (
    draws.latents_over(whole, batches(source, title), seed)
    for source, title in ((validation, "validation"), (test, "test"))
  )
  pools = draws.pools_over(
    sampled,
    batches(test, "sampling", sampling.num_samples),
    num_samples=sampling.num_samples,
    temperatures=scales,
    seed=seed,
  )
  is_same = validation.listing_hash == test.listing_hash
  fitted, seen = _halves(seen) if is_same else (fitted, seen)
  tuned = latents.temperatures(fitted)
  held = "half of the test pictures" if is_same else "validation pictures"
  training = open_source(trained.config, trained.task, "train")
  climatology = draws.true_means(
    whole, batches(_spread(training, _CLIMATOLOGY), "training"), seed
  )
  parts = [latents.latent_pit(seen, tuned, held, seed)]
  plots = {"latents": pictures.latent_histograms(latents.pit(seen), seen.names)}
  offsets = {}
  for temperature, pool in zip(sampling.temperatures, pools, strict=True):
    own, own_plots, q = _of_pool(pool, climatology, seed)
    for part in own:
      title = names.label(part.title, temperature, sampling.temperatures)
      parts.append(part._replace(title=title))
    suffix = names.label("", temperature, sampling.temperatures)
    suffix = suffix.removeprefix(", ").replace(" ", "_").replace(":", "_")
    plots |= {f"{k}{suffix and '_'}{suffix}": v for k, v in own_plots.items()}
    offsets[names.name(temperature)] = q
  notes = _notes(tuned, held, sampling)
  if processes.is_first():
    for name, plot in plots.items():
      writing.save_png(folder / calibration_file.PICTURES / f"{name}.png", plot)
    content = {
      **_facts(trained, test, level),
      "validation": validation.name,
      **sampling._asdict(),
      "tuned_temperature": [round(float(t), 4) for t in tuned],
      "parts": [lines.as_json(part) for part in parts],
      "plots": list(plots),
      "offsets": offsets,
      "notes": notes,
    }
    calibration_file.write(folder, content)
  for part in parts:
    print(lines.text(part))
  print("\n".join(notes))
  print(f"Written to {folder / calibration_file.NAME}.")
  processes.agree(True)


def _facts(trained: Trained, test: Source, level: int) -> dict[str, Any]:
  """Returns the checkpoint that was calibrated, and the pictures used."""
  return {
    "step": trained.step,
    "checkpoint": trained.digest,
    "task": trained.config["task"],
    "level": level,
    "source": test.name,
    "listing_hash": test.listing_hash,
    "pictures": len(test),
  }


def _check(trained, sampling, num_pictures):
  name = trained.config["task"]["name"]
  if name not in TASKS:
    raise ValueError(
      f"--mode=calibrate is for {', '.join(TASKS)}, not for {name}."
    )
  if (objective := trained.flow.objective) is not None:
    raise ValueError(
      "--mode=calibrate ranks pictures by their likelihood, and"
      f" {objective.title} has no exact one: use a flow."
    )
  if sampling.num_samples < MIN_SAMPLES:
    raise ValueError(
      f"--num_samples={sampling.num_samples}: --mode=calibrate needs at least"
      f" {MIN_SAMPLES} samples of each picture."
    )
  if 0 < num_pictures < MIN_PICTURES:
    raise ValueError(
      f"--num_pictures={num_pictures}: --mode=calibrate needs at least"
      f" {MIN_PICTURES} pictures, or 0 for all."
    )
  check_temperatures(trained.flow, trained.variables, sampling.temperatures)
  if not all(np.any(scale) for scale in sampling.temperatures):
    raise ValueError(
      "--temperature=0 draws the same sample again and again, which has no"
      " ranks or intervals: choose one above 0."
    )


def _spread(source: Source, count: int) -> Source:
  if not count or count >= len(source):
    return source
  return derived.Spread(source, count)


def _halves(seen: Latents) -> tuple[Latents, Latents]:
  """Splits the latents of the only held-out pictures: to fit, and to report."""
  return (
    seen._replace(squares=seen.squares[::2]),
    seen._replace(squares=seen.squares[1::2]),
  )


def _of_pool(
  pool: Pool, climatology: np.ndarray, seed: int
) -> tuple[list[lines.Part], dict[str, np.ndarray], dict[str, Any]]:
  """Returns the tables, the pictures and the conformal offsets of a pool."""
  frequencies = {
    grid: odds.frequencies(coarser(climatology[..., -2:], grid))
    for grid in odds.GRIDS
  }
  widths = {
    (grid, channel): float(
      np.ptp(np.quantile(coarser(climatology, grid)[..., c], _MARGINAL))
    )
    for grid in conformal.GRIDS
    for c, channel in enumerate(pool.channels)
  }
  ranked = [
    test(pool, seed) for test in (regions.hpd, regions.region_pit, regions.tarp)
  ]
  colors = odds.color_odds(pool, frequencies, seed)
  intervals, q = conformal.conformal(pool, widths, seed)
  members = pool.means.shape[1]
  plots = {
    "reliability": pictures.reliability([c for p in ranked for c in p.curves]),
    "odds": pictures.reliability(colors.curves, "odds", "came true"),
    "ranks": pictures.rank_histograms(
      regions.rank_columns(pool, seed), members
    ),
    "sureness": pictures.sureness_maps(regions.sureness(pool, seed)),
  }
  return [*ranked, colors, intervals], plots, q


def _notes(tuned: np.ndarray, held: str, sampling: Sampling) -> list[str]:
  text = names.name([round(float(t), 3) for t in tuned])
  notes = [
    f"Tuned on {held}: --temperature={text}. Temperature 1 is the model"
    " itself.",
    "'A right model' is the exact 95 % band of each number: its range if a"
    " random member of each set (the truth and its samples) takes the place of"
    " the truth.",
  ]
  if any(t != 1.0 for t in sampling.temperatures):
    notes.append(
      "Samples at a temperature other than 1 are tuned: they are not those of"
      " the model itself."
    )
  return notes
