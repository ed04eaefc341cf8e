"""The contract of a bijection, for all of the registry, in float64."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import slow
from tests.support.drawing import (
  abstract_batch,
  draw_like,
  draw_variables,
  normal,
)
from tests.support.registry import CASES

BATCH = 2
# Further shapes and conditions of bijections that other cases have.
VARIANTS = (
  "autoregressive_reverse",
  "conditional_spline_alone",
  "coupling_checkerboard_odd",
  "coupling_odd",
  "coupling_spatial_rows",
  "coupling_spline",
  "coupling_two_conditions",
  "coupling_vector_on_image",
  "coupling_vector_on_sequence",
  "injector_two_conditions",
  "injector_vector_on_image",
)
NAMES = sorted(CASES.keys() - set(VARIANTS))
ALL = slow.all_but(NAMES, sorted(CASES))
WITH_KEYS = ("conditioned", "multi_scale")  # of the condition
CONDITIONAL = [name for name in sorted(CASES) if CASES[name].cond is not None]
# The first of each class: eager calls compile every operation on its own.
ONE_PER_CLASS = sorted(
  {type(CASES[name].bijection): name for name in reversed(NAMES)}.values()
)
# Prefixes of the names of bijections that need a condition.
STEERED_BY_CONDITION = ("injector", "conditional_")
OPTIONAL = [
  name
  for name in CONDITIONAL
  if name not in WITH_KEYS and not name.startswith(STEERED_BY_CONDITION)
]


@functools.cache
def _case(name):
  """Returns (bijection, variables with random parameters, x, cond)."""
  bijection, shape, cond_shapes = CASES[name]
  seed = zlib.crc32(name.encode()) % 10_000
  x = normal(seed, (BATCH, *shape))
  cond = draw_like(abstract_batch(cond_shapes, BATCH), seed + 1)
  return bijection, draw_variables(bijection, seed + 20, x, cond), x, cond


@functools.cache
def _program(name, method, gradients=True):
  """Compiles a direction, and its gradients with it."""
  apply = functools.partial(CASES[name].bijection.apply, method=method)
  if not gradients:
    return jax.jit(apply)

  def run(params, value, cond, fixed, weights):
    def direction(*arguments):
      params, value, cond = arguments
      return apply({**fixed, "params": params}, value, cond)

    result, pull_back = jax.vjp(direction, params, value, cond)
    return pull_back(weights), result

  return jax.jit(run)


def _differentiate(name, method, value=None, cond="own", weights=None):
  """Returns (gradients of parameters, value and condition; the result).

  The gradients are those of the sum of all results times their `weights`.
  """
  _, variables, x, own_cond = _case(name)
  value = x if value is None else value
  cond = own_cond if isinstance(cond, str) else cond
  params = variables.get("params", {})
  fixed = {k: v for k, v in variables.items() if k != "params"}
  if weights is None:
    weights = jax.tree.map(jnp.zeros_like, _result_shapes(name, method, value))
  return _program(name, method)(params, value, cond, fixed, weights)


def _result_shapes(name, method, value):
  bijection, variables, _, cond = _case(name)
  apply = functools.partial(bijection.apply, method=method)
  return jax.eval_shape(apply, variables, value, cond)


def _run(name, method, value=None, cond="own"):
  if method == "forward":  # Its gradients are needed anyway.
    return _differentiate(name, method, value, cond)[1]
  _, variables, _, own_cond = _case(name)
  cond = own_cond if isinstance(cond, str) else cond
  return _program(name, method, gradients=False)(variables, value, cond)


def _assert_close(actual, expected, atol):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=atol, atol=atol),
    actual,
    expected,
  )


def _flat(tree, xp=np):
  """Flattens examples to vectors [B, D]; `xp` is numpy or jax.numpy."""
  leaves = jax.tree.leaves(tree)
  return xp.concatenate([xp.reshape(leaf, (BATCH, -1)) for leaf in leaves], -1)


@pytest.mark.parametrize("name", ALL)
def test_round_trip_from_data(name):
  z, log_det = _run(name, "forward")
  x, inverse_log_det = _run(name, "inverse", z)
  _assert_close(x, _case(name)[2], 1e-9)
  _assert_close(inverse_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", ALL)
def test_round_trip_from_latents(name):
  z = draw_like(_run(name, "forward")[0], 77)
  x, log_det = _run(name, "inverse", z)
  z_again, forward_log_det = _run(name, "forward", x)
  _assert_close(z_again, z, 1e-9)
  _assert_close(forward_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", ALL)
def test_log_det_is_the_jacobians(name):
  z, log_det = _run(name, "forward")
  assert log_det.shape == (BATCH,)
  for b in range(BATCH):
    jacobian = _jacobian(name, z, b)
    expected = np.linalg.slogdet(jacobian[:, b])[1]
    np.testing.assert_allclose(log_det[b], expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(jacobian[:, 1 - b], 0)


def _jacobian(name, z, b):
  """Returns [D, B, D]: derivatives of example b of z with respect to x."""
  leaves, tree = jax.tree.flatten(jax.tree.map(np.zeros_like, z))
  rows = []
  for leaf in leaves:
    for i in np.ndindex(leaf.shape[1:]):
      leaf[(b, *i)] = 1.0
      weights = jax.tree.unflatten(tree, leaves), np.zeros(BATCH)
      rows.append(_flat(_differentiate(name, "forward", weights=weights)[0][1]))
      leaf[(b, *i)] = 0.0
  return np.stack(rows)


@pytest.mark.parametrize(
  "direction", slow.all_but(["forward"], ["forward", "inverse"])
)
@pytest.mark.parametrize("name", ONE_PER_CLASS)
def test_jit_equals_eager(name, direction):
  bijection, variables, value, cond = _case(name)
  if direction == "inverse":
    value = _run(name, "forward")[0]
  eager = bijection.apply(variables, value, cond, method=direction)
  _assert_close(_run(name, direction, value), eager, 1e-10)


@pytest.mark.parametrize(
  "name", slow.all_but(set(CONDITIONAL) - set(VARIANTS), CONDITIONAL)
)
def test_every_part_of_the_condition_matters(name):
  cond = _case(name)[3]
  z, _ = _run(name, "forward")
  leaves, tree = jax.tree.flatten(cond)
  hidden = {0} if name == "conditioned" else set()  # it sees only key 1
  for i, leaf in enumerate(leaves):
    changed = [*leaves[:i], leaf + 1.0, *leaves[i + 1 :]]
    cond = jax.tree.unflatten(tree, changed)
    difference = np.abs(_flat(_run(name, "forward", cond=cond)[0]) - _flat(z))
    assert (difference.max() > 1e-3) == (i not in hidden)


def _without_condition(params):
  """Returns the parameters of the same network without a condition."""
  return {
    name: _without_condition(entry) if isinstance(entry, dict) else entry
    for name, entry in params.items()
    if not name.startswith("condition_")
  }


@pytest.mark.parametrize(
  "name", slow.all_but(set(OPTIONAL) & set(ONE_PER_CLASS), OPTIONAL)
)
def test_condition_can_be_left_out(name):
  bijection, variables, x, _ = _case(name)
  variables = {**variables, "params": _without_condition(variables["params"])}
  expected = jax.eval_shape(bijection.init, jax.random.key(0), x)["params"]
  assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(
    jnp.shape, expected
  )
  z, log_det = bijection.apply(variables, x)
  back, inverse_log_det = bijection.apply(variables, z, method="inverse")
  _assert_close(back, x, 1e-9)
  _assert_close(inverse_log_det, -log_det, 1e-9)


@pytest.mark.parametrize(
  "direction", slow.all_but(["forward"], ["forward", "inverse"])
)
@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_and_reach_parameters(name, direction):
  value = None if direction == "forward" else _run(name, "forward")[0]
  out, log_det = _run(name, direction, value)
  # The gradient of the sum of squares, and of the sum of sin(log_det).
  weights = jax.tree.map(lambda leaf: 2 * leaf, out), jnp.cos(log_det)
  gradients, _ = _differentiate(name, direction, value, weights=weights)
  for leaf in jax.tree.leaves(gradients):
    assert np.isfinite(leaf).all()
  for leaf in jax.tree.leaves(gradients[:2]):
    assert np.abs(leaf).max() > 0


def test_stack_equals_its_blocks_in_order():
  bijection, variables, x, cond = _case("stack")
  expected, total = x, 0.0
  for k in range(bijection.depth):
    block = {
      name: jax.tree.map(lambda leaf, k=k: leaf[k], tree["block"])
      for name, tree in variables.items()
    }
    expected, log_det = bijection.block.apply(block, expected, cond)
    total += log_det
  z, log_det = _run("stack", "forward")
  _assert_close(z, expected, 1e-12)
  _assert_close(log_det, total, 1e-12)
