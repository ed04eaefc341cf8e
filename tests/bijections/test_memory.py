"""Memory policies of stacks: less memory, the same gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.condition_nets import Head
from cinn_jax.models.networks.subnets import Subnet
from tests.benchmarks.deep_flow import (
  deep_flow,
  lowered_step,
  temporary_bytes,
)
from tests.support import slow
from tests.support.compilation import full_effort
from tests.support.drawing import draw_variables, normal
from tests.support.gradients import KINDS, assert_as_stored

DENSE = functools.partial(
  Subnet, widths=(5,), kernels=(1, 1), activation=jnp.tanh
)


# tests/exact/test_memory.py always checks others in float64.
QUICK = ("coupling", "coupling_spline", "coupling_spatial_rows", "glow")


@pytest.mark.parametrize(
  "name", slow.all_but(QUICK, (*KINDS, "glow", "multi_scale"))
)
def test_reversible_gradients_are_the_stored_ones(name):
  assert_as_stored(name, "reversible", "forward", np.float32, 1e-5)


@pytest.mark.slow
def test_remat_gradients_are_the_stored_ones():
  assert_as_stored("multi_scale", "remat", "forward", np.float32, 1e-5)


def _stack_with_heads(memory):
  """Stacks a block with reports, data-dependent init and running statistics."""
  coupling = bj.AffineCoupling(DENSE)
  parts = (bj.ActNorm(), bj.Conditioned(coupling, "c", Head(0, 4, "batch")))
  return bj.Stack(bj.Chain((*parts, bj.Permutation())), 3, memory)


@pytest.mark.slow
def test_init_reports_and_statistics_are_the_same():
  x, cond = normal(0, (6, 4), np.float32), normal(1, (6, 4, 4, 3), np.float32)
  cond = {"c": cond.mean(axis=(1, 2), keepdims=True)}
  x = x[:, None, None]

  @functools.partial(jax.jit, static_argnums=0)
  def run(memory, x, cond):
    stack = _stack_with_heads(memory)
    variables = stack.init(jax.random.key(0, impl="rbg"), x, cond)
    variables.pop("diagnostics")

    def loss(params):
      (z, log_det), updated = stack.apply(
        {**variables, "params": params},
        x,
        cond,
        mutable=["diagnostics", "batch_stats"],
      )
      return jnp.mean(z**2) - jnp.mean(log_det), updated

    return variables, jax.value_and_grad(loss, has_aux=True)(
      jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
    )

  stored, other = (run(each, x, cond) for each in ("store", "reversible"))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    other,
    stored,
  )
  variables, ((_, updated), _) = other
  head = updated["batch_stats"]["block"]["parts_1"]["head"]["Norm_0"]
  before = variables["batch_stats"]["block"]["parts_1"]["head"]["Norm_0"]
  assert np.abs(head["mean"] - before["mean"]).max() > 1e-3
  coupling = updated["diagnostics"]["block"]["parts_1"]["bijection"]
  assert coupling["max_log_scale"].shape == (3,)
  assert coupling["max_log_scale"].min() > 0


def _loss(memory, variables, params, x):
  stack = bj.Stack(
    bj.Chain((bj.AffineCoupling(DENSE), bj.Orthogonal())), 2, memory
  )
  z, log_det = stack.apply({**variables, "params": params}, x)
  return jnp.sum(jnp.sin(z)) + jnp.sum(log_det**2)


@pytest.mark.slow
def test_second_derivatives():
  x = normal(2, (2, 4), np.float32)
  block = bj.Chain((bj.AffineCoupling(DENSE), bj.Orthogonal()))
  variables = draw_variables(bj.Stack(block, 2), 3, x, scale=0.1)

  @functools.partial(jax.jit, static_argnums=0)
  def second(memory, params, x):
    def size_of_gradient(params, x):
      loss = functools.partial(_loss, memory, variables)
      leaves = jax.tree.leaves(jax.grad(loss, argnums=(0, 1))(params, x))
      return sum(jnp.sum(leaf**2) for leaf in leaves)

    return jax.grad(size_of_gradient, argnums=(0, 1))(params, x)

  stored, rebuilt = (
    second(memory, variables["params"], x) for memory in ("store", "reversible")
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
    rebuilt,
    stored,
  )
  # Forward mode would need the activations.
  with pytest.raises(TypeError, match="forward-mode"):
    loss = functools.partial(_loss, "reversible", variables)
    jax.jvp(lambda x: loss(variables["params"], x), (x,), (x,))


def _memory_growth(memory):
  """Returns the relative growth from 16 to 128 couplings."""
  with full_effort():
    shallow, deep = (
      temporary_bytes(lowered_step(deep_flow(depth, memory)).compile())
      for depth in (16, 128)
    )
  return deep / shallow - 1


def test_reversible_memory_does_not_grow_with_depth():
  assert _memory_growth("reversible") < 0.05
  # Without the policy it does, so the measurement is meaningful.
  assert _memory_growth("store") > 5


@pytest.mark.parametrize("memory", bj.MEMORY_POLICIES)
def test_size_of_a_steps_module_does_not_grow(memory):
  shallow, deep = (
    len(lowered_step(deep_flow(depth, memory)).as_text()) for depth in (8, 64)
  )
  # The depth takes one more digit in every stacked shape.
  assert abs(deep - shallow) < 0.02 * shallow
