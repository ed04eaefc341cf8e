"""Compiled bijections: precision, compile time and the cost of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import sum_per_example
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import abstract_batch
from tests.support.registry import CASES

BATCH = 2
CONV = functools.partial(Subnet, widths=(8,), kernels=(3, 1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_log_det_is_float32(name, dtype):
  bijection, shape, cond_shapes = CASES[name]
  x, cond = abstract_batch((shape, cond_shapes), BATCH, dtype)
  (z, log_det), variables = jax.eval_shape(
    bijection.init_with_output, jax.random.key(0), x, cond
  )
  inverse = functools.partial(bijection.apply, method="inverse")
  back, inverse_log_det = jax.eval_shape(inverse, variables, z, cond)
  assert log_det.dtype == inverse_log_det.dtype == jnp.float32
  assert log_det.shape == inverse_log_det.shape == (BATCH,)
  assert back.shape == x.shape
  for leaf in (back, *jax.tree.leaves(z)):
    assert leaf.dtype in (dtype, jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_affine_head_is_float32_for_any_subnet(dtype):
  coupling = bj.AffineCoupling(functools.partial(CONV, dtype=jnp.bfloat16))
  x = abstract_batch((4, 4, 4), BATCH, dtype)
  (z, log_det), variables = jax.eval_shape(
    coupling.init_with_output, jax.random.key(0), x
  )
  log_scale = variables["diagnostics"]["max_log_scale"]
  assert z.dtype == log_det.dtype == log_scale.dtype == jnp.float32


def test_sums_of_half_precision_are_float32():
  values = jnp.full((BATCH, 7, 100), 0.1, jnp.bfloat16)
  total = sum_per_example(values)
  assert total.dtype == jnp.float32
  np.testing.assert_allclose(total, 700 * float(values[0, 0, 0]), rtol=1e-5)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_compile_time_does_not_grow_with_depth(method):
  def lowered_length(depth):
    block = bj.Chain((bj.AffineCoupling(CONV), bj.Orthogonal()))
    stack = bj.Stack(block, depth)
    x, cond = abstract_batch(((4, 4, 4), (4, 4, 3)), BATCH, jnp.float32)
    variables = jax.eval_shape(stack.init, jax.random.key(0), x, cond)
    apply = functools.partial(stack.apply, method=method)
    return len(jax.jit(apply).lower(variables, x, cond).as_text())

  shallow, deep = lowered_length(4), lowered_length(32)
  # The depth takes one more digit in every stacked shape.
  assert abs(deep - shallow) < 0.02 * shallow


@pytest.mark.parametrize("memory", ["store", "reversible"])
def test_many_samples_share_work_on_the_condition(memory):
  block = bj.Chain((bj.AffineCoupling(CONV), bj.Orthogonal()))
  stack = bj.Stack(block, 2, memory)
  z, cond = abstract_batch(((8, 8, 4), (8, 8, 64)), BATCH, jnp.float32)
  variables = jax.eval_shape(stack.init, jax.random.key(0), z, cond)

  def flops(samples, cond_axis=None):
    def sample(variables, z, cond):
      return stack.apply(variables, z, cond, method="inverse")[0]

    def repeated(leaf):
      return jax.ShapeDtypeStruct((samples, *leaf.shape), leaf.dtype)

    many = jax.vmap(sample, (None, 0, cond_axis))
    conds = cond if cond_axis is None else repeated(cond)
    lowered = jax.jit(many).lower(variables, repeated(z), conds)
    return lowered.compile().cost_analysis()["flops"]

  one = flops(1)
  assert flops(8) < 3 * one
  # The cost if every sample had its own condition.
  assert flops(8, cond_axis=0) > 7 * one
