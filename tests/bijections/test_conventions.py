"""Conventions that no round trip checks: orders, halves, sides, formulas.

Checkpoints and published networks depend on all of them.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables, normal

DENSE = functools.partial(Subnet, widths=(5,), kernels=(1, 1))
# One example of two channels: pixel (y, x) of channel c is 100*c + 10*y + x.
PIXELS = jnp.asarray(
  [[[[100 * c + 10 * y + x for c in range(2)] for x in range(4)]
    for y in range(4)]], jnp.float32,
)  # fmt: skip


def _normal(seed, *shape):
  return normal(seed, shape, np.float32)


def _assert_close(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def _run_random(bijection, x, cond=None, method="forward", seed=0):
  """Returns random variables, their (output, log_det) and diagnostics."""
  variables = draw_variables(bijection, seed, x, cond, scale=0.5)
  apply = functools.partial(
    bijection.apply, method=method, mutable="diagnostics"
  )
  out, updated = jax.jit(apply)(variables, x, cond)
  return variables, out, updated.get("diagnostics", {})


@pytest.mark.parametrize(
  "order, expected",
  [
    ("position", [0, 100, 1, 101, 10, 110, 11, 111]),
    ("channel", [0, 1, 10, 11, 100, 101, 110, 111]),
  ],
)
def test_squeeze_channel_order(order, expected):
  z, _ = bj.Squeeze(order).apply({}, PIXELS)
  assert z.shape == (1, 2, 2, 8)
  np.testing.assert_array_equal(z[0, 0, 0], expected)
  np.testing.assert_array_equal(z[0, 0, 1], np.add(expected, 2))
  np.testing.assert_array_equal(z[0, 1, 0], np.add(expected, 20))


@pytest.mark.parametrize(
  "order, expected",
  [
    # Averages, then differences along x, along y, diagonal.
    ("wavelet", [5.5, 105.5, -0.5, -0.5, -5, -5, 0, 0]),
    ("channel", [5.5, -0.5, -5, 0, 105.5, -0.5, -5, 0]),
  ],
)
def test_haar_formula_and_channel_order(order, expected):
  z, log_det = bj.Haar(rebalance=0.5, order=order).apply({}, PIXELS)
  np.testing.assert_allclose(z[0, 0, 0], expected, atol=1e-5)
  np.testing.assert_allclose(log_det, 32 * math.log(0.5), rtol=1e-6)
  unscaled, _ = bj.Haar(rebalance=1.0, order=order).apply({}, PIXELS)
  np.testing.assert_allclose(unscaled, 2 * z, rtol=1e-6)


def test_haar_diagonal_difference_sign():
  z, _ = bj.Haar(rebalance=1.0).apply({}, jnp.eye(2)[None, :, :, None])
  np.testing.assert_allclose(z[0, 0, 0], [1, 0, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
  "name, formula",
  [
    ("cinn_paper", lambda s, a: a * 2 / math.pi * math.atan(s / a)),
    ("cinn_code", lambda s, a: a * 0.636 * math.atan(s / a)),
    ("freia_2021", lambda s, a: a * 0.636 * math.atan(s)),
    ("tanh", lambda s, a: a * math.tanh(s / a)),
    (
      "contracting",
      lambda s, a: math.log(
        math.exp(-a) + (1 - math.exp(-a)) / (1 + math.exp(-s))
      ),
    ),
    (
      "sigmoid",
      lambda s, a: math.log(1 / (1 + math.exp(-s - 2)) + math.exp(-a)),
    ),
  ],
)
def test_clamp_formulas(name, formula):
  points = [-50.0, -1.0, 0.0, 0.3, 7.0]
  for alpha in (0.6, 1.9):
    expected = [formula(s, alpha) for s in points]
    actual = bj.CLAMPS[name](jnp.asarray(points), alpha)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert jnp.abs(bj.CLAMPS[name](jnp.asarray([-1e9, 1e9]), alpha)).max() <= (
      alpha * (1 + 1e-6)
    )


def test_jet_clamp_formula():
  points, floor = [-50.0, -1.0, 0.0, 0.3, 7.0, 1e9], math.exp(-9.2)
  expected = [math.log(2 / (1 + math.exp(-s)) + floor) for s in points]
  actual = bj.CLAMPS["jet"](jnp.asarray(points), 9.2)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  # Its bound above is that of doubling, whatever alpha.
  assert actual.max() < 0.694


def test_coupling_defaults_are_the_papers():
  coupling = bj.AffineCoupling(DENSE)
  assert coupling.clamp == "cinn_paper"
  assert coupling.alpha == 1.9
  assert coupling.sides == 2


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("clamp", bj.CLAMPS)
def test_affine_coupling_formula(sides, clamp):
  """Checks halves (floor(C/2) first), and that net_2 reads the second half."""
  coupling = bj.AffineCoupling(DENSE, sides=sides, alpha=0.8, clamp=clamp)
  x, cond = _normal(0, 2, 5), _normal(1, 2, 3)
  variables, (z, log_det), diagnostics = _run_random(coupling, x, cond)

  def affine(net, passive, active):
    params = {"params": variables["params"][net]}
    head = DENSE().apply(params, passive, cond, 2 * active.shape[-1])
    raw, shift = head[:, : active.shape[-1]], head[:, active.shape[-1] :]
    scale = bj.CLAMPS[clamp](raw, 0.8)
    return active * jnp.exp(scale) + shift, scale

  first, second, scales = x[:, :2], x[:, 2:], []
  if sides == 2:
    first, scale = affine("net_2", second, first)
    scales.append(scale)
  second, scale = affine("net_1", first, second)
  scales.append(scale)
  scales = np.concatenate(scales, -1)
  _assert_close(z, jnp.concatenate([first, second], -1))
  _assert_close(log_det, scales.sum(-1))
  _assert_close(diagnostics["max_log_scale"], np.abs(scales).max())


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_stack_reports_log_scales_of_every_block(method):
  stack = bj.Stack(bj.AffineCoupling(DENSE, alpha=0.8), 3)
  x, cond = _normal(2, 2, 4), _normal(3, 2, 3)
  _, _, diagnostics = _run_random(stack, x, cond, method)
  largest = diagnostics["block"]["max_log_scale"]
  assert largest.shape == (3,)
  assert len(set(largest.tolist())) == 3
  assert largest.min() > 0 and largest.max() < 0.8


@pytest.mark.parametrize(
  "side, expected", [("first", [0, 1, 2]), ("last", [2, 3, 4])]
)
def test_split_emits_the_named_side(side, expected):
  (emitted, rest), _ = bj.Split(3, side).apply({}, jnp.arange(5.0)[None])
  np.testing.assert_array_equal(emitted[0], expected)
  np.testing.assert_array_equal(
    rest[0], [n for n in range(5) if n not in expected]
  )


def test_multi_scale_latents_come_finest_first():
  flow = bj.MultiScale((bj.Squeeze(), bj.Squeeze()), (bj.Split(2),))
  (fine, coarse), _ = flow.apply({}, PIXELS)
  assert (fine.shape, coarse.shape) == ((1, 2, 2, 2), (1, 1, 1, 24))
  np.testing.assert_array_equal(fine[0, 0, 0], [11, 111])
  np.testing.assert_array_equal(coarse[0, 0, 0, :6], [0, 100, 1, 101, 10, 110])


def test_chain_runs_first_part_first():
  chain = bj.Chain((bj.Squeeze("channel"), bj.Flatten((2, 2, 8))))
  z, _ = chain.apply({}, PIXELS)
  np.testing.assert_array_equal(z[0, :4], [0, 1, 10, 11])
  back, _ = chain.apply({}, z, method="inverse")
  np.testing.assert_array_equal(back, PIXELS)


@pytest.mark.parametrize(
  "order, expected",
  [("position", [0, 100, 1, 101, 2]), ("channel", [0, 1, 2, 3, 10])],
)
def test_flatten_is_row_major(order, expected):
  flatten = bj.Flatten((4, 4, 2), order)
  z, _ = flatten.apply({}, PIXELS)
  np.testing.assert_array_equal(z[0, :5], expected)
  back, _ = flatten.apply({}, z, method="inverse")
  np.testing.assert_array_equal(back, PIXELS)


def test_seeded_permutation_is_numpys():
  permutation = bj.Permutation(seed=3)
  variables, (z, _), _ = _run_random(permutation, jnp.arange(9.0)[None])
  expected = np.random.RandomState(3).permutation(9)
  np.testing.assert_array_equal(z[0], expected)
  np.testing.assert_array_equal(variables["constants"]["order"], expected)
  assert list(variables) == ["constants"]


def test_unseeded_permutation_depends_on_the_key():
  x = jnp.arange(64.0)[None]
  _, (one, _), _ = _run_random(bj.Permutation(), x, seed=0)
  _, (other, _), _ = _run_random(bj.Permutation(), x, seed=1)
  assert sorted(one[0]) == sorted(other[0]) == list(range(64))
  assert (one != other).any()


def test_orthogonal_multiplies_from_the_right():
  x = _normal(4, 3, 6)
  variables, (z, _), _ = _run_random(bj.Orthogonal(), x)
  assert list(variables) == ["constants"]
  matrix = np.asarray(variables["constants"]["matrix"])
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-5)
  np.testing.assert_allclose(z, np.asarray(x) @ matrix, atol=1e-5)


def test_copies_in_a_stack_have_their_own_values():
  block = bj.Chain((bj.AffineCoupling(DENSE), bj.Orthogonal()))
  x, cond = _normal(5, 2, 4), _normal(6, 2, 3)
  init = jax.jit(bj.Stack(block, 2).init)
  variables = init(jax.random.key(0, impl="rbg"), x, cond)
  kernels = [
    leaf
    for path, leaf in jax.tree.leaves_with_path(variables)
    if "layer_0" in str(path) and "kernel" in str(path)
  ]
  for leaf in (*kernels, *jax.tree.leaves(variables["constants"])):
    assert leaf.shape[0] == 2
    assert (leaf[0] != leaf[1]).any()
  assert len(kernels) == 2


def test_head_sees_only_its_entry():
  class Double(nn.Module):
    @nn.compact
    def __call__(self, entry):
      return 2 * entry

  coupling = bj.AffineCoupling(DENSE)
  conditioned = bj.Conditioned(coupling, "b", head=Double())
  x, b = _normal(7, 2, 4), _normal(8, 2, 3)
  variables, (z, _), _ = _run_random(conditioned, x, {"a": None, "b": b})
  own = {"params": variables["params"]["bijection"]}
  _assert_close(z, coupling.apply(own, x, 2 * b)[0])


def test_key_none_hides_the_condition():
  conditioned = bj.Conditioned(bj.AffineCoupling(DENSE), None)
  variables, _, _ = _run_random(
    conditioned, _normal(9, 2, 4), _normal(10, 7, 3)
  )
  layers = variables["params"]["bijection"]["net_1"]
  assert sorted(layers) == ["layer_0", "layer_1"]


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_haar_is_exact_on_accelerators_too(method):
  """They round what they multiply unless a product asks for more."""
  run = functools.partial(bj.Haar().apply, {}, method=method)
  text = str(jax.make_jaxpr(run)(jnp.zeros((1, 4, 4, 8))))
  assert "dot_general" in text and "Precision.DEFAULT" not in text
  assert "HIGHEST" in text
