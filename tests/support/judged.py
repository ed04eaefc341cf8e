"""Stand-ins for a trained run, and pictures, for tests of judges."""

from types import SimpleNamespace

import numpy as np

from cinn_jax.experiment.build import build_task

SIDE = 32


def make_trained(task="super_resolution", **module):
  return SimpleNamespace(
    task=build_task(task, image_size=SIDE),
    flow=SimpleNamespace(module=SimpleNamespace(**module), objective=None),
    variables={},
  )


def draw_pictures(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (*shape, SIDE, SIDE, 3), np.uint8)


def rows_of(judge, batch, samples, log_prob):
  """Returns the rows of samples of one temperature, and the references."""
  [rows], references = judge.rows(batch, [(samples, log_prob)])
  return rows | references
