"""Compares flows with regression, VAEs and GANs, at equal budget and size.

  python tests/benchmarks/claims.py --photos=PHOTOS.zip --digits=FOLDER \\
    [--task=colorize] [--method=cinn,cvae] [--seed=0,1] [--minutes=20]
  python tests/benchmarks/claims.py --table

The tasks are colorization and 4x super-resolution of photographs at 64x64, and
MNIST by class. Each method has about 3 million parameters (for digits, up to
that number) and --minutes of processor time per run, without compilation. Its
rate is the best of three on validation pictures; each is tried for the fraction
--trial of the time, from seed 0. If there is a row of the same method, minutes,
trial and limit, its rates are used again. ESRGAN's first half takes the rate of
the regression's row, or 1e-3. In each twenty photographs, one is for testing
and one for validation.

Each run appends a row to --results as soon as it is finished, and writes a
sheet of samples to --out. Runs whose rows exist are skipped, so a stopped
comparison can go on. A run has failed if a regression does not beat the answer
without a model, or if the answers of a GAN do not depend on its noise; its row
says so. --table prints the rows as Markdown.
"""

import argparse
import datetime
import functools
import math
import pathlib
import time

import claim_digits
import claim_models
import claim_pictures
import claim_scores
import claim_table
import jax
import machine
import result_rows
from claim_training import Trainer

from cinn_jax.experiment.build import abstract_variables
from cinn_jax.images import writing

# Learning rate of the first training of a generator, if its regression has no
# row yet.
_START_RATE = 1e-3
RESULTS = pathlib.Path(__file__).parent / "results" / "claims.json"


def main() -> None:
  """Runs what is missing, or prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photos", help="a zip file of photographs")
  parser.add_argument("--digits", help="a folder of MNIST's four files")
  parser.add_argument("--task", default=",".join(claim_models.METHODS))
  parser.add_argument("--method", default="")
  parser.add_argument("--seed", default="0,1")
  parser.add_argument("--minutes", type=float, default=20.0)
  parser.add_argument("--trial", type=float, default=0.25)
  parser.add_argument("--limit", type=int, default=0, help="test pictures")
  parser.add_argument("--out", default="out", help="folder for sheets")
  parser.add_argument("--results", default=str(RESULTS))
  parser.add_argument("--table", action="store_true", help="print, and stop")
  options = parser.parse_args()
  results = pathlib.Path(options.results)
  if options.table:
    print(claim_table.markdown(result_rows.read(results)))
    return
  tasks = options.task.split(",")
  chosen = options.method.split(",") if options.method else []
  if fault := _fault(tasks, chosen, options):
    parser.error(fault)
  for task in tasks:
    methods = claim_models.METHODS[task]
    for method in chosen or methods:
      # Not every task has every method.
      if method in methods:
        _run(task, method, results, options)


def _fault(tasks, chosen, options):
  """Returns what is wrong with the flags, or None."""
  known = claim_models.METHODS
  for task in tasks:
    if task not in known:
      return f"--task={task}: expected some of {', '.join(known)}"
    file = "digits" if task == "digits" else "photos"
    if not getattr(options, file):
      return f"--task={task} needs --{file}"
  methods = dict.fromkeys(method for task in tasks for method in known[task])
  if unknown := [method for method in chosen if method not in methods]:
    return f"--method={unknown[0]}: expected some of {', '.join(methods)}"
  if options.minutes <= 0 or options.trial <= 0:
    return "--minutes and --trial must be above 0"
  return claim_scores.missing() if set(tasks) != {"digits"} else None


def key(row: result_rows.Row) -> tuple[str, float, float, int, str, int]:
  """Returns the run that a row belongs to."""
  budget = row["minutes"], row["trial"], row.get("limit", 0)
  return row["task"], *budget, row["method"], row["seed"]


def _wanted(task, method, options):
  """Returns the key of a run without its seed."""
  return task, options.minutes, options.trial, options.limit, method


def _run(task, method, results, options):
  done = {key(row) for row in result_rows.read(results)}
  seeds = [
    seed
    for seed in map(int, options.seed.split(","))
    if (*_wanted(task, method, options), seed) not in done
  ]
  if not seeds:
    print(f"{task}, {method}: done before.", flush=True)
    return
  start = time.monotonic()

  def report(text):
    spent = time.monotonic() - start
    print(f"[{spent:6.0f} s] {task}, {method}: {text}", flush=True)

  chosen = claim_models.METHODS[task][method]
  config = claim_models.make_config(task, method, options.digits or "")
  split = _split(
    task, options.photos, options.digits, options.out, options.limit
  )
  trainer = Trainer(config, split.train, augment=task != "digits")
  parameters = count_parameters(trainer)
  report(f"{parameters:,} parameters, {len(split.train['image']):,} pictures")
  seconds = 60 * options.minutes
  start_rate = _start_rate(task, results, options)
  train = _training(task, method, trainer, split, start_rate)
  rates = _tried_before(task, method, results, options)
  if not rates:
    rates = _try_rates(task, method, trainer, split, train, options, report)
  rate = min(rates, key=lambda rate: rates[rate])
  for seed in seeds:
    trained = train(seconds, rate, seed, report)
    row = {
      "task": task,
      "method": method,
      "kind": chosen.kind,
      "seed": seed,
      "minutes": options.minutes,
      "trial": options.trial,
      "limit": options.limit,
      "parameters": parameters,
      "steps": trained.steps,
      "batch_size": config.train.batch_size,
      "seconds": trained.seconds,
      "skipped_steps": trained.skipped,
      "rate": rate,
      "start_rate": start_rate if chosen.start else None,
      "rates": as_json({f"{k:g}": v for k, v in rates.items()}),
      "test_pictures": len(split.test["image"]),
      "copies_left_out": split.copies,
      "of": trainer.task.description,
      "last": as_json(trained.last),
      "when": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
      **machine.facts("jax", "flax"),
    }
    row |= _measures(task, chosen.kind, trainer, trained, split, options, row)
    result_rows.append(results, row, key)
    report(f"seed {seed}: {row['failed'] or 'row written'}")


def _start_rate(task, results, options):
  """Returns the rate that was best for the network of the start, or 1e-3."""
  for row in result_rows.read(results):
    if key(row)[:-1] == _wanted(task, "regression", options):
      return row["rate"]
  return _START_RATE


def _training(task, method, trainer, split, start_rate):
  """Returns `train(seconds, rate, seed, report)`, which includes the start."""
  first = claim_models.make_start(task, method)
  if first is None:
    return trainer.train
  starter = Trainer(first, split.train, augment=True)

  def train(seconds, rate, seed, report=lambda text: None):
    half = seconds / 2
    begun = starter.train(half, start_rate, seed)
    report(f"start: {begun.steps} steps")
    trained = trainer.train(
      half, rate, seed, report, start=begun.variables["params"]
    )
    return trained._replace(
      steps=begun.steps + trained.steps,
      skipped=begun.skipped + trained.skipped,
      seconds=round(begun.seconds + trained.seconds, 1),
      diverged=begun.diverged or trained.diverged,
    )

  return train


def _tried_before(task, method, results, options):
  """Returns the criterion for each rate from an equal row, or nothing."""
  for row in result_rows.read(results):
    if key(row)[:-1] == _wanted(task, method, options):
      return {
        float(rate): float("inf") if value is None else value
        for rate, value in row["rates"].items()
      }
  return {}


def _try_rates(task, method, trainer, split, train, options, report):
  """Returns the criterion on validation pictures for each rate."""
  chosen = claim_models.METHODS[task][method]
  rates = {}
  for rate in chosen.rates:
    trained = train(60 * options.minutes * options.trial, rate, 0)
    value = float("inf")
    if not trained.diverged:
      value = claim_scores.criterion(
        trainer, chosen.kind, trained.variables, split.validation
      )
    report(f"rate {rate:g}: {value:.4f} on validation, {trained.steps} steps")
    # A comparison with NaN could choose it.
    rates[rate] = value if value == value else float("inf")
  return rates


def _measures(task, kind, trainer, trained, split, options, row):
  """Returns a row's numbers about the samples; writes their sheet."""
  if trained.diverged:
    return {"failed": "diverged", "measures": {}, "bits_per_dim": None}
  if task == "digits":
    measure = functools.partial(
      claim_digits.of_digits, judge=_judge(options.digits)
    )
  else:
    measure = claim_scores.of_photographs
  measures, sheet = measure(trainer, trained, split.test)
  name = f"{task}-{row['method']}-{row['seed']}".replace(" ", "_")
  folder = pathlib.Path(options.out)
  writing.save_png(folder / f"{name}.png", sheet)
  found = {
    "failed": claim_scores.failure(kind, measures),
    "measures": measures,
    "bits_per_dim": claim_scores.bits_per_dim(
      trainer, trained.variables, split.test
    ),
  }
  if kind == "cvae":
    # With temperature 0 for the noise of pixels, the decoder's means remain.
    levels = len(
      trainer.flow.module.latent_shapes(trainer.flow.event_shape, (1, 1))
    )
    scale = [0.0] + [1.0] * (levels - 1)
    means, sheet = measure(trainer, trained, split.test, scale=scale)
    found["measures_of_means"] = means
    writing.save_png(folder / f"{name}-means.png", sheet)
  return found


@functools.cache
def _split(task, photos, digits, out, limit):
  if task == "digits":
    config = claim_models.make_config(task, "cinn", digits)
    return claim_pictures.digits(config, limit)
  return claim_pictures.photographs(photos, claim_models.SIZE, out, limit)


@functools.cache
def _judge(digits):
  """Returns the classifier of digits, trained once for all methods."""
  config = claim_models.make_config("digits", "cinn", digits)
  return claim_digits.Digits(claim_pictures.digits(config).train)


def count_parameters(trainer: Trainer) -> int:
  """Returns the number of trained parameters."""
  params = abstract_variables(trainer.flow, trainer.task)["params"]
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def as_json(numbers: dict[str, float]) -> dict[str, float | None]:
  """Returns numbers for a row: None for those that are not finite."""
  return {k: v if math.isfinite(v) else None for k, v in numbers.items()}


if __name__ == "__main__":
  main()
