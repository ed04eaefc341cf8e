"""Measures what hints are worth: the weights that come along, n hints each.

  python -m cinn_jax.data.prepare_views --path=PHOTOS --output=VIEWS
  python tests/benchmarks/hints.py --views=VIEWS [--pictures=32] [--json=FILE]

Test photographs get n hints with their true colours, placed as in training
(`tasks.hints.place`) by a seed of each picture's own. For each n:

  bits/dim     of the true colours, given lightness and hints
  PSNR         of the likeliest of 8 samples at temperature 1, in dB
  pixel std    of the 8 samples, in Lab units
  hint error   mean |ab - hint| of samples in the hinted cells, in Lab units, at
               temperature 0, and at temperature 1. Goal: below 3 at 0
"""

import argparse
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import machine
import numpy as np
import tqdm

from cinn_jax import likelihood
from cinn_jax.experiment.build import build, open_source
from cinn_jax.images import color
from cinn_jax.sampling.known_colors import make_draw_to_hints
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.tasks import hints
from cinn_jax.tasks.colorize import AB_SCALES
from cinn_jax.workdir.trained import restore

NUMBERS = (0, 1, 2, 5, 10, 20, 50)
NUM_SAMPLES = 8


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--views", required=True)
  parser.add_argument("--pictures", type=int, default=32)
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  rows = measure(flags.views, flags.pictures)
  lines = [
    [
      n,
      *(f"{value:.3f}" if value is not None else "" for value in row.values()),
    ]
    for n, row in rows.items()
  ]
  print(machine.table(["hints", *rows[NUMBERS[0]]], lines))
  results = {"pictures": flags.pictures, "rows": rows}
  machine.finish(results, machine.facts("jax", "jaxlib"), flags.json)


def measure(views: str, count: int) -> dict[int, dict[str, float | None]]:
  """Returns the figures by number of hints."""
  trained = restore("photographs", {"source": "views", "path": views})
  task_config = {**trained.config["task"], "given_features": True}
  flow, task = build({**trained.config, "task": task_config})
  source = open_source(trained.config, task, "test")
  places = np.linspace(0, len(source) - 1, count).round().astype(int)
  programs = _Programs(
    make_draw(flow),
    make_draw_to_hints(flow),
    jax.jit(flow.log_prob),
    jax.jit(task.render),
  )
  of_picture = [
    _of_picture(task, programs, trained.variables, source[int(k)], int(k))
    for k in tqdm.tqdm(places)
  ]
  rows: dict[int, dict[str, float | None]] = {}
  for n in NUMBERS:
    names = of_picture[0][n]
    rows[n] = {
      name: _mean([values[n][name] for values in of_picture]) for name in names
    }
  return rows


def _mean(values):
  return None if values[0] is None else float(np.mean(values))


class _Programs(NamedTuple):
  draw: Callable
  to_hints: Callable
  log_prob: Callable
  render: Callable


def _of_picture(task, programs, variables, record, seed):
  """Returns a picture's figures by number of hints."""
  batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], dict(record))
  x, cond = task.prepare(batch)
  noisy, _ = task.add_noise(jax.random.key(seed), x, cond)
  key, numbers = jax.random.key(0), jnp.arange(NUM_SAMPLES, dtype=jnp.uint32)
  side = cond["hints"].shape[1]
  truth = color.from_uint8(batch["image"])[0]
  rows = {}
  for n in NUMBERS:
    known = hints.place(
      jax.random.key(seed), _to_cells(x, side), jnp.asarray([n])
    )
    given = {**cond, "hints": known}
    own = (
      programs.to_hints(variables, given)
      if n
      else functools.partial(programs.draw, variables, given)
    )
    drawn, nats = own(key, numbers, jnp.asarray(1.0))
    middle, _ = own(key, numbers, jnp.asarray(0.0))
    best = programs.render(drawn[jnp.argmax(nats)][None], given)[0]
    bits = likelihood.bits_per_dim(
      programs.log_prob(variables, noisy, given).total[0], x.size
    )
    spread = np.std(np.asarray(drawn), 0) * np.asarray(AB_SCALES)
    rows[n] = {
      "bits/dim": float(bits),
      "PSNR": float(-10 * np.log10(np.mean((np.asarray(best) - truth) ** 2))),
      "pixel std": float(spread.mean()),
      "hint error at 0": _hint_error(middle[:1], known) if n else None,
      "hint error at 1": _hint_error(drawn, known) if n else None,
    }
  return rows


def _to_cells(x, side):
  b, height, width, c = x.shape
  n = height // side
  return x.reshape(b, side, n, width // n, n, c).mean((2, 4))


def _hint_error(x, known):
  """Returns the mean |ab - hint| in hinted cells, in Lab units."""
  gaps = np.abs(np.asarray(_to_cells(x, known.shape[1]) - known[..., :2]))
  weights = np.broadcast_to(np.asarray(known[..., 2:]), gaps.shape)
  return float(np.average(gaps * np.asarray(AB_SCALES), weights=weights))


if __name__ == "__main__":
  main()
