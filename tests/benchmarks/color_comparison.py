"""Compares flows for colours that were trained for the same time.

  python -m cinn_jax.data.prepare_views --path=PHOTOS --output=VIEWS
  python tests/benchmarks/color_comparison.py --views=VIEWS --seconds=120,600 \\
    [--models='laptop,pyramid'] [--seeds=0,1] [--sheets=FOLDER]
  python tests/benchmarks/color_comparison.py --table

All flows model the same x: ab in 32x32 cells with Gaussian noise of 0.05, given
the lightness. Seconds are processor time, without compilation and without the
features, which VIEWS holds. Each finished run appends a row to --results; runs
whose rows exist are skipped. --table prints the rows. On the command line,
names of models have no commas: "laptop+features".
"""

import argparse
import pathlib
import time

import color_models
import color_scores
import machine
import result_rows
from PIL import Image

from cinn_jax.data.views import Views

RESULTS = pathlib.Path(__file__).parent / "results" / "color_comparison.json"
_TITLES = {
  "bits_per_dim": "bits/dim",
  "rmse": "RMSE of one",
  "best": "best of 8",
  "spread": "spread",
  "out": "out of gamut",
  "between": "between things",
  "sampling": "8 samples, ms",
}


def main() -> None:
  flags = _flags()
  if not flags.table:
    for seconds in _numbers(flags.seconds):
      for seed in _numbers(flags.seeds):
        for name in flags.models.split(","):
          _run(name.replace("+", ", "), seconds, seed, flags)
  print(table(result_rows.read(flags.results)))


def key(row: result_rows.Row) -> tuple[float, str, int]:
  """Returns the name of a run."""
  return row["seconds"], row["model"], row["seed"]


def table(rows: list[result_rows.Row]) -> str:
  """Returns the rows as a table, in Lab units and shares."""
  lines = [
    [
      row["model"],
      f"{row['seconds']:g}",
      row["seed"],
      f"{row['parameters']:,}",
      "+".join(map(str, row["steps"])),
      *(_number(name, row["scores"][name]) for name in _TITLES),
    ]
    for row in rows
  ]
  head = ["model", "seconds", "seed", "parameters", "steps", *_TITLES.values()]
  return machine.table(head, lines)


def _number(name, value):
  if name in ("out", "between"):
    return f"{100 * value:.1f} %"
  if name == "sampling":
    return f"{1000 * value:.0f}"
  return f"{value:.3f}" if name == "bits_per_dim" else f"{value:.2f}"


def _run(name, seconds, seed, flags):
  if name not in color_models.MODELS:
    known = ", ".join(m.replace(", ", "+") for m in color_models.MODELS)
    raise SystemExit(f"There is no model {name!r}; there are {known}.")
  training = Views(flags.views, "train").listing_hash
  for row in result_rows.read(flags.results):
    if key(row) == (seconds, name, seed):
      own = "" if row["views"] == training else f", of views {row['views']}"
      print(f"{name}, {seconds:g} s, seed {seed}: is there already{own}.")
      return
  print(f"{name}, {seconds:g} s, seed {seed} ...", flush=True)
  start = time.monotonic()
  trained = color_models.train(name, seconds, views=flags.views, seed=seed)
  views = Views(flags.views.split(",")[0], "test")
  scores = {
    "bits_per_dim": color_models.bits(trained, views),
    **color_scores.score(trained, views),
    "sampling": _seconds(color_scores.make_sampling(trained, views)),
  }
  if flags.sheets:
    flags.sheets.mkdir(parents=True, exist_ok=True)
    file = flags.sheets / f"{name} {seconds:g} {seed}.png".replace(", ", "+")
    note = f"{name}, {seconds:g} seconds, seed {seed}"
    Image.fromarray(color_scores.sheet(trained, views, note)).save(file)
  row = {
    "model": name,
    "seconds": seconds,
    "seed": seed,
    "parameters": color_models.number_of_parameters(trained),
    "steps": trained.steps,
    "views": training,
    "scores": scores,
    "wall_seconds": round(time.monotonic() - start),
    "machine": machine.facts("jax", "jaxlib"),
  }
  result_rows.append(flags.results, row, key)


def _seconds(work):
  """Returns the least processor time of five calls after a first one."""
  work()
  times = []
  for _ in range(5):
    start = time.process_time()
    work()
    times.append(time.process_time() - start)
  return min(times)


def _numbers(text):
  return [int(part) for part in text.split(",")]


def _flags():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--views", help="folder of data.prepare_views")
  parser.add_argument(
    "--models",
    default=",".join(m.replace(", ", "+") for m in color_models.MODELS),
  )
  parser.add_argument("--seconds", default="120")
  parser.add_argument("--seeds", default="0,1")
  parser.add_argument("--sheets", type=pathlib.Path)
  parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
  parser.add_argument("--table", action="store_true", help="only print rows")
  flags = parser.parse_args()
  if not flags.table and not flags.views:
    parser.error("--views names the folder of data.prepare_views.")
  return flags


if __name__ == "__main__":
  main()
