"""Compares cINN, Glow, SRFlow, Dual-Glow+ and CAFLOW at equal size and budget.

  python tests/benchmarks/pair_comparison.py --data=PHOTOS.zip --out=OUT \\
    [--task=colorize_rgb,inpaint] [--model=caflow] [--seed=0,1] [--steps=1000]
  python tests/benchmarks/pair_comparison.py --table

Trains each model at 64x64 in batches of 8, with about 6 million parameters, on
photographs of rooms (for the task "sketch", of clothes), and scores samples for
every fifth photograph at temperatures 0.5, 0.8 and 1. PHOTOS.zip has a folder
of pictures for each kind.

Each run appends a row to --results as soon as it is finished, and writes a
sheet of samples to OUT. Runs whose rows exist are skipped, so several processes
can share the work, and a stopped one can go on. The seeds of one model run one
after the other, with the same compiled programs. --table prints the rows as
Markdown.

--prepare=FILE writes the pictures of PHOTOS.zip at 64x64, for another machine.
"""

import argparse
import datetime
import pathlib
import time

import jax
import machine
import numpy as np
import pair_models
import pair_pictures
import pair_table
import result_rows

from cinn_jax.evaluation.metrics import inception, lpips
from cinn_jax.images import writing
from cinn_jax.runtime import unpickling

RESULTS = pathlib.Path(__file__).parent / "results" / "pair_comparison.json"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", help="a zip file of photographs")
  parser.add_argument("--out", default="out", help="folder for sheets")
  parser.add_argument("--results", default=str(RESULTS))
  parser.add_argument("--task", type=_some_of(pair_models.TASKS))
  parser.add_argument("--model", type=_some_of(pair_models.MODELS))
  parser.add_argument("--seed", default="0,1", help="for example 0,1,2")
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--batch_size", type=int, default=8)
  parser.add_argument("--temperature", default="0.5,0.8,1")
  parser.add_argument("--num_samples", type=int, default=8)
  parser.add_argument("--limit", type=int, help="test pictures (default: all)")
  parser.add_argument("--compilation_cache", default="")
  parser.add_argument("--prepare", help="write the pictures, and stop")
  parser.add_argument("--table", action="store_true", help="print, and stop")
  options = parser.parse_args()
  results = pathlib.Path(options.results)
  if options.table:
    print(pair_table.markdown(result_rows.read(results)))
    return
  if not options.data:
    parser.error("--data=PHOTOS.zip is needed")
  if options.prepare:
    kinds = dict.fromkeys(kind for kind, _ in pair_models.TASKS.values())
    pair_pictures.prepare(
      options.data, options.prepare, tuple(kinds), pair_models.SIZE
    )
    return
  _check_weights()
  if options.compilation_cache:
    jax.config.update("jax_compilation_cache_dir", options.compilation_cache)
  # Accelerators would round the inputs of products to fewer bits.
  jax.config.update("jax_default_matmul_precision", "highest")
  for task, (kind, models) in pair_models.TASKS.items():
    for model in models:
      if task in (options.task or pair_models.TASKS) and model in (
        options.model or models
      ):
        _run(task, model, kind, results, options)


def _some_of(names):
  def parse(text):
    if unknown := set(text.split(",")) - set(names):
      raise argparse.ArgumentTypeError(
        f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}"
      )
    return text.split(",")

  return parse


def _check_weights():
  """Raises FileNotFoundError before hours of training, not after."""
  inception.load()
  lpips.weights_path("alexnet")


def _run(task, model, kind, results, options):
  """Trains and measures a model with those seeds that have no row yet."""
  done = set(map(_key, result_rows.read(results)))
  settings = {
    "task": task,
    "model": model,
    "steps": options.steps,
    "batch_size": options.batch_size,
    "num_samples": options.num_samples,
    "temperatures": options.temperature,
    "limit": options.limit,
  }
  seeds = [
    seed
    for seed in map(int, options.seed.split(","))
    if _key({**settings, "seed": seed}) not in done
  ]
  if not seeds:
    print(f"{task} {model}: done before.", flush=True)
    return
  import pair_scoring
  import pair_training

  start = time.perf_counter()

  def report(text):
    spent = time.perf_counter() - start
    print(f"[{spent:6.1f} s] {task} {model}: {text}", flush=True)

  train, test, copies = pair_pictures.read(
    options.data, kind, pair_models.SIZE, options.limit
  )
  report(f"{train.name}, {test.name}; {copies} copies left out")
  trainer = pair_training.Trainer(
    task,
    model,
    train,
    pair_training.Options(
      steps=options.steps,
      batch_size=options.batch_size,
      scales=[float(scale) for scale in options.temperature.split(",")],
      num_samples=options.num_samples,
      cache=options.compilation_cache,
      report=report,
    ),
  )
  scorer = pair_scoring.Scorer(trainer, test)
  report(f"{trainer.parameters:,} parameters")
  for seed in seeds:
    state, metrics = trainer.train(seed)
    skipped = metrics["skipped"] > 0
    row = {
      **settings,
      "seed": seed,
      "parameters": trainer.parameters,
      "training_pictures": len(train),
      "copies_left_out": copies,
      "listing_hash": test.listing_hash,
      "skipped_steps": int(np.sum(skipped)),
      "first_skipped": int(np.argmax(skipped)) + 1 if skipped.any() else None,
      "largest": {
        name: float(np.max(metrics[name][~skipped]))
        if not skipped.all()
        else None
        for name in ("grad_norm", "max_log_scale")
      },
      "training_bits_per_dim": _every_tenth(metrics["bits_per_dim"], skipped),
      "bits_of_mantissa": {
        "inception": _mantissa(inception.load()),
        "lpips": _mantissa(
          unpickling.load_arrays(lpips.weights_path("alexnet"))
        ),
      },
      "when": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
      **machine.facts("jax", "flax", device=jax.devices()[0].device_kind),
    }
    if not state.diverged:
      numbers, sheet = scorer.evaluate(state.ema_variables)
      row |= numbers
      path = pathlib.Path(options.out) / f"{task}-{model}-{seed}.png"
      writing.save_png(path, sheet)
    row["seconds"] = dict(trainer.seconds)
    result_rows.append(results, row, _key)
    report(f"seed {seed}: row written")


def _every_tenth(values, skipped):
  """Returns the mean bits/dim in 8-bit levels over each tenth of a run."""
  parts = np.array_split(values + np.log2(256), 10)
  kept = np.array_split(~skipped, 10)
  return [
    round(float(part[keep].mean()), 4) if keep.any() else None
    for part, keep in zip(parts, kept, strict=True)
  ]


def _mantissa(weights):
  """Returns the precision of weights in bits: 23 unless they were rounded."""
  bits = 0
  for leaf in jax.tree.leaves(weights):
    whole = np.ravel(leaf).astype(np.float32).view(np.uint32)
    bits |= int(np.bitwise_or.reduce(whole)) & (2**23 - 1)
  return 23 - ((bits & -bits).bit_length() - 1) if bits else 0


def _key(row: result_rows.Row) -> tuple[str, ...]:
  """Returns the run that a row belongs to; rows are sorted by it."""
  names = ("task", "model", "seed", "steps", "batch_size")
  more = ("num_samples", "temperatures", "limit")
  # Rows without a limit, as all early ones, have none.
  return (*(row[n] for n in names), *(f"{row.get(n) or ''}" for n in more))


if __name__ == "__main__":
  main()
