"""The contract of a bijection, for all of the registry, in float64."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.drawing import (
  abstract_batch,
  draw_like,
  draw_variables,
  normal,
)
from tests.support.registry import CASES

BATCH = 2
NAMES = sorted(CASES)
WITH_KEYS = ("conditioned", "multi_scale")  # of the condition
CONDITIONAL = [name for name in NAMES if CASES[name].cond is not None]
# The first of each class: eager calls compile every operation on its own.
ONE_PER_CLASS = sorted(
  {type(CASES[name].bijection): name for name in reversed(NAMES)}.values()
)
# Prefixes of the names of bijections that need a condition.
STEERED_BY_CONDITION = ("injector", "conditional_")


@functools.cache
def _case(name):
  """Returns (bijection, variables with random parameters, x, cond)."""
  bijection, shape, cond_shapes = CASES[name]
  seed = zlib.crc32(name.encode()) % 10_000
  x = normal(seed, (BATCH, *shape))
  cond = draw_like(abstract_batch(cond_shapes, BATCH), seed + 1)
  return bijection, draw_variables(bijection, seed + 20, x, cond), x, cond


@functools.cache
def _program(name, method):
  """Compiles a direction and its gradients together, which is quicker."""
  apply = functools.partial(CASES[name].bijection.apply, method=method)

  def loss(params, value, cond, fixed):
    out, log_det = apply({**fixed, "params": params}, value, cond)
    total = jnp.sum(_flat(out, jnp) ** 2) + jnp.sum(jnp.sin(log_det))
    return total, (out, log_det)

  return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


def _differentiate(name, method, value=None, cond="own"):
  """Returns (gradients of parameters, value and condition; the result)."""
  _, variables, x, own_cond = _case(name)
  return _program(name, method)(
    variables.get("params", {}),
    x if value is None else value,
    own_cond if isinstance(cond, str) else cond,
    {k: v for k, v in variables.items() if k != "params"},
  )


def _run(name, method, value=None, cond="own"):
  return _differentiate(name, method, value, cond)[1]


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


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_from_data(name):
  z, log_det = _run(name, "forward")
  x, inverse_log_det = _run(name, "inverse", z)
  _assert_close(x, _case(name)[2], 1e-9)
  _assert_close(inverse_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_from_latents(name):
  z = draw_like(_run(name, "forward")[0], 77)
  x, log_det = _run(name, "inverse", z)
  z_again, forward_log_det = _run(name, "forward", x)
  _assert_close(z_again, z, 1e-9)
  _assert_close(forward_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_log_det_is_the_jacobians(name):
  bijection, variables, x, cond = _case(name)

  def flat_forward(flat, variables, cond):
    x_like = flat.reshape(x.shape)
    return _flat(bijection.apply(variables, x_like, cond)[0], jnp)

  # [B, D, B, D]
  jacobian = jax.jit(jax.jacfwd(flat_forward))(_flat(x), variables, cond)
  jacobian = np.asarray(jacobian)
  log_det = _run(name, "forward")[1]
  assert log_det.shape == (BATCH,)
  for b in range(BATCH):
    expected = np.linalg.slogdet(jacobian[b, :, b])[1]
    np.testing.assert_allclose(log_det[b], expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(jacobian[b, :, 1 - b], 0)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", ONE_PER_CLASS)
def test_jit_equals_eager(name, direction):
  bijection, variables, value, cond = _case(name)
  if direction == "inverse":
    value = _run(name, "forward")[0]
  eager = bijection.apply(variables, value, cond, method=direction)
  _assert_close(_run(name, direction, value), eager, 1e-10)


@pytest.mark.parametrize("name", CONDITIONAL)
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
  "name",
  [
    name
    for name in CONDITIONAL
    if name not in WITH_KEYS and not name.startswith(STEERED_BY_CONDITION)
  ],
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


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_reach_parameters(name, direction):
  value = None if direction == "forward" else _run(name, "forward")[0]
  gradients, _ = _differentiate(name, direction, value)
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
