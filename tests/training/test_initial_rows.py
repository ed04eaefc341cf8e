"""`fit` initialises a flow from more rows than a minibatch has."""

import itertools

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj

FLOW = cinn_jax.make_flow(bj.ActNorm(), (2,))
DATA = np.random.default_rng(0).normal(3, 2, (400, 2)).astype(np.float32)
_OPTIONS = {
  "num_epochs": 1,
  "steps_per_epoch": 2,
  "batch_size": 4,
  "learning_rate": 0.0,
  "progress": False,
  "standardize": False,
}


def _simulate(rng, batch_size):
  return 3 + 2 * jax.random.normal(rng, (batch_size, 2)), None


def _source(kind):
  if kind == "array":
    return DATA
  if kind == "simulator":
    return _simulate
  batches = itertools.cycle(np.split(DATA, 100))
  return ((batch, None) for batch in batches)


@pytest.mark.parametrize("kind", ["array", "simulator", "iterator"])
def test_actnorm_starts_from_many_rows(kind):
  def start(**options):
    result = cinn_jax.fit(
      FLOW, jax.random.key(0), _source(kind), **_OPTIONS, **options
    )
    return result.variables["params"]

  many, few = start(), start(init_batch_size=4)
  error = np.abs(many["bias"] + 3).max() + np.abs(many["log_scale"] + np.log(2))
  assert error.max() < 0.5
  assert np.abs(many["log_scale"] - few["log_scale"]).max() > 0.05


@pytest.mark.slow
def test_rows_for_the_start_alone_are_not_held_out():
  """Validates a flow that does not depend on the data it starts from."""
  flow = cinn_jax.make_flow(
    cinn_jax.vector_flow(2, blocks=1, hidden=(4,), linear_start=False), (2,)
  )
  scores = [
    cinn_jax.fit(
      flow,
      jax.random.key(0),
      _source("iterator"),
      init_batch_size=size,
      **_OPTIONS,
    ).history.validation_log_prob
    for size in (1, 9)
  ]
  np.testing.assert_array_equal(*scores)
