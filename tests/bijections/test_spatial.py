"""Spatial couplings: their halves, who sees whom, and patterns in turn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.bijections.spatial import PATTERNS, token_orders
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.networks.token_networks import TransformerSubnet
from tests.support import slow
from tests.support.drawing import draw_variables, normal
from tests.support.refusing import assert_refused

DENSE = functools.partial(Subnet, widths=(8,), kernels=(1, 1))
TRANSFORMER = functools.partial(TransformerSubnet, 8, 1, heads=2)
X, COND = normal(0, (1, 2, 4, 2), np.float32), normal(1, (1, 2, 4, 3))
COND = COND.astype(np.float32)

# Tokens of a grid of 2x4 that steer, in raster order, and those they steer.
HALVES = {
  "checkerboard": ([0, 2, 5, 7], [1, 3, 4, 6]),
  "checkerboard_odd": ([1, 3, 4, 6], [0, 2, 5, 7]),
  "rows": ([0, 1, 2, 3], [4, 5, 6, 7]),
  "rows_odd": ([4, 5, 6, 7], [0, 1, 2, 3]),
  "columns": ([0, 2, 4, 6], [1, 3, 5, 7]),
  "columns_odd": ([1, 3, 5, 7], [0, 2, 4, 6]),
}


def test_patterns_of_a_small_grid():
  assert list(HALVES) == list(PATTERNS)
  expected = [first + second for first, second in HALVES.values()]
  np.testing.assert_array_equal(token_orders(2, 4), expected)


@functools.cache
def _dependence(network, pattern):
  """Returns where z depends on x and on the condition, bool [8, 8] each."""
  coupling = bj.SpatialCoupling(network, pattern=pattern)
  variables = draw_variables(coupling, 2, X, COND)

  @jax.jit
  @functools.partial(jax.jacrev, argnums=(0, 1))
  def jacobians(x, cond):
    return coupling.apply(variables, x, cond)[0].reshape(8, -1)

  return [
    np.abs(part).reshape(8, 2, 8, -1).max((1, 3)) > 1e-6
    for part in jacobians(X, COND)
  ]


@pytest.mark.parametrize(
  "pattern", slow.all_but(("checkerboard_odd", "rows"), PATTERNS)
)
def test_steered_tokens_see_all_of_the_other_half(pattern):
  steering, steered = HALVES[pattern]
  expected = np.eye(8, dtype=bool)
  expected[np.ix_(steered, steering)] = True
  on_x, on_cond = _dependence(TRANSFORMER, pattern)
  np.testing.assert_array_equal(on_x, expected)
  # The condition at the places of both halves.
  assert on_cond[steered].all() and not on_cond[steering].any()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_token_steers_the_one_of_its_number(pattern):
  """Checks a network that keeps tokens apart."""
  on_x, on_cond = _dependence(DENSE, pattern)
  expected = np.eye(8, dtype=bool)
  both = np.zeros((8, 8), bool)
  for i, j in zip(*HALVES[pattern], strict=True):
    expected[j, i] = True
    both[j, [i, j]] = True
  np.testing.assert_array_equal(on_x, expected)
  np.testing.assert_array_equal(on_cond, both)


def _stack(depth):
  parts = (bj.Permutation(), bj.SpatialCoupling(DENSE, pattern="columns"))
  return bj.SpatialStack(bj.Chain(parts), depth)


def test_patterns_take_turns_in_a_stack():
  depth = 8
  variables = draw_variables(_stack(depth), 3, X, COND)
  expected = X
  for k in range(depth):
    # After "columns", number 4, comes "columns_odd", then the first again.
    coupling = bj.SpatialCoupling(DENSE, pattern=PATTERNS[(4 + k) % 6])
    order = variables["constants"]["block"]["parts_0"]["order"][k]
    own = jax.tree.map(
      lambda leaf, k=k: leaf[k], variables["params"]["block"]["parts_1"]
    )
    fixed = coupling.init(jax.random.key(0), X, COND)["constants"]
    expected, _ = coupling.apply(
      {"params": own, "constants": fixed}, expected[..., order], COND
    )
  z, _ = jax.jit(_stack(depth).apply)(variables, X, COND)
  np.testing.assert_allclose(z, expected, atol=1e-5)


def test_first_results_are_those_of_later_calls():
  """Checks it with a network that does not start at the identity."""
  network = functools.partial(DENSE, init_std=0.3, zero_last=False)
  block = bj.Chain((bj.SpatialCoupling(network),))
  stack = bj.SpatialStack(block, 3)
  (z, _), variables = jax.jit(stack.init_with_output)(
    jax.random.key(0, impl="rbg"), X, COND
  )
  np.testing.assert_array_equal(
    variables["constants"]["block"]["parts_0"]["split"], [0, 1, 2]
  )
  np.testing.assert_allclose(stack.apply(variables, X, COND)[0], z, atol=1e-5)


@pytest.mark.parametrize(
  "memory", slow.all_but(["reversible"], ["remat", "reversible"])
)
def test_memory_policies_change_no_gradient(memory):
  """Checks groups of stacked couplings of channels and one of tokens."""

  def groups(policy):
    channels = bj.Stack(bj.AffineCoupling(DENSE, sides=1), 2)
    group = bj.Chain((bj.Permutation(), channels, bj.SpatialCoupling(DENSE)))
    return bj.SpatialStack(group, 4, policy)

  variables = draw_variables(groups("store"), 4, X, COND, scale=0.1)

  @functools.partial(jax.jit, static_argnums=0)
  @functools.partial(jax.grad, argnums=(1, 2, 3))
  def gradients(policy, params, x, cond):
    whole = {**variables, "params": params}
    z, log_det = groups(policy).apply(whole, x, cond)
    return jnp.sum(jnp.sin(z)) + jnp.sum(log_det**2)

  expected, actual = (
    gradients(each, variables["params"], X, COND) for each in ("store", memory)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    actual,
    expected,
  )


@pytest.mark.parametrize(
  "shape, words",
  [((2, 4, 2), ["images"]), ((1, 3, 4, 2), ["even", "(1, 3, 4, 2)"])],
)
def test_grids_without_halves_raise(shape, words):
  value = jax.ShapeDtypeStruct(shape, jnp.float32)
  for method in ("forward", "inverse"):
    assert_refused(bj.SpatialCoupling(DENSE), method, value, None, words)


@pytest.mark.parametrize("options", [{"sides": 2}, {"pattern": "stripes"}])
def test_bad_options_raise(options):
  coupling = bj.SpatialCoupling(DENSE, **options)
  words = ["1 side", "a pattern of checkerboard, checkerboard_odd, rows"]
  assert_refused(coupling, "forward", X, None, words)


def test_stack_of_other_blocks_raises():
  block = bj.Chain((bj.SpatialCoupling(DENSE), bj.Permutation()))
  words = ["ends in a SpatialCoupling"]
  assert_refused(bj.SpatialStack(block, 2), "forward", X, None, words)
