"""Condition networks: shapes, wiring, and normalisation in both directions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cinn_jax import bijections as bj
from cinn_jax.models.networks.condition_nets import ColorfulNet, Head, Pyramid
from cinn_jax.models.networks.normalization import Norm
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_like, draw_variables, normal

LEVELS = (((3, 1), (4, 2)), ((6, 2),))
MOVING = ["batch_stats", "diagnostics"]


def _normal(seed, *shape):
  return normal(seed, shape, np.float32)


def _conv(x, layer, stride):
  out = lax.conv_general_dilated(
    x,
    layer["kernel"],
    (stride, stride),
    ((1, 1), (1, 1)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return out + layer["bias"].reshape(1, 1, 1, -1)


def test_pyramid_shapes():
  x = jax.ShapeDtypeStruct((2, 16, 24, 1), jnp.float32)
  net = Pyramid(LEVELS, vector=5, pool=2)
  features, variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), x
  )
  assert jax.tree.map(lambda leaf: leaf.shape, features) == {
    "level_0": (2, 8, 12, 4),
    "level_1": (2, 4, 6, 6),
    "vector": (2, 5),
  }
  assert set(variables) == {"params"}
  without = jax.eval_shape(
    Pyramid(LEVELS).init_with_output, jax.random.key(0), x
  )
  assert set(without[0]) == {"level_0", "level_1"}


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_pyramid_levels_build_on_each_other(slope):
  net = Pyramid(LEVELS, vector=5, pool=2, negative_slope=slope)
  x = _normal(0, 2, 8, 8, 1)
  relu = functools.partial(jax.nn.leaky_relu, negative_slope=slope)
  abstract = jax.eval_shape(net.init, jax.random.key(0), x)
  variables = draw_like(abstract, 1, np.float32, 0.3)
  params = variables["params"]
  features = net.apply(variables, x)
  first = _conv(x, params["Conv_0"], 1)
  level_0 = _conv(relu(first), params["Conv_1"], 2)
  level_1 = _conv(relu(level_0), params["Conv_2"], 2)
  pooled = relu(level_1).reshape(2, 1, 2, 1, 2, 6).mean((2, 4))
  dense = params["Dense_0"]
  vector = pooled.reshape(2, -1) @ dense["kernel"] + dense["bias"][None]
  expected = {"level_0": level_0, "level_1": level_1, "vector": vector}
  assert features.keys() == expected.keys()
  for name, wanted in expected.items():
    np.testing.assert_allclose(
      features[name], wanted, rtol=1e-4, atol=1e-5, err_msg=name
    )
  # Features leave a level before its non-linearity.
  assert all(np.min(feature) < 0 for feature in features.values())


def test_colorful_features_are_cropped_at_the_end():
  net, x = ColorfulNet(width=2), _normal(0, 1, 16, 24, 1)
  abstract = jax.eval_shape(net.init, jax.random.key(0), x)
  variables = draw_like(abstract, 1, np.float32, 0.3)
  run = jax.jit(functools.partial(net.apply, capture_intermediates=True))
  features, between = run(variables, x)
  [wide] = between["intermediates"]["ConvTranspose_0"]["__call__"]
  assert (features.shape, wide.shape) == ((1, 4, 6, 8), (1, 6, 8, 8))
  params = variables["params"]
  for name in ("Conv_19", "Conv_20"):
    wide = _conv(jax.nn.relu(wide), params[name], 1)
  np.testing.assert_allclose(
    features, wide[:, 1:-1, 1:-1], rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("level, side", [(0, 16), (1, 8), (3, 2)])
def test_head_level_sets_the_resolution(level, side):
  x = jax.ShapeDtypeStruct((2, 16, 16, 5), jnp.float32)
  head = Head(level, channels=7)
  out = jax.eval_shape(head.init_with_output, jax.random.key(0), x)[0]
  assert out.shape == (2, side, side, 7)


@pytest.mark.parametrize("channels, groups", [(16, 8), (12, 1)])
def test_group_norm(channels, groups):
  norm, x = Norm("group"), _normal(0, 3, 4, 5, channels)
  x = 4 * x + 2
  scale, bias = _normal(1, channels), _normal(2, channels)
  variables = {"params": {"norm": {"scale": scale, "bias": bias}}}
  grouped = x.reshape(3, 20, groups, -1)
  centred = grouped - grouped.mean((1, 3), keepdims=True)
  expected = centred / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
  expected = scale * expected.reshape(x.shape) + bias
  apply = jax.jit(norm.apply)
  actual = apply(variables, x)
  np.testing.assert_allclose(actual, expected, atol=1e-4)
  alone = apply(variables, x[:1])
  np.testing.assert_allclose(alone, actual[:1], atol=1e-5)


def _batch_norm():
  x = _normal(0, 3, 4, 5, 2) * np.array([3, 0.5]) + np.array([-1, 7])
  x, norm = x.astype(np.float32), Norm("batch", momentum=0.75, epsilon=1e-3)
  variables = {
    "params": {"scale": jnp.array([2.0, -1.0]), "bias": jnp.array([0.1, 0.2])},
    "batch_stats": {"mean": jnp.array([0.5, 4]), "var": jnp.array([4.0, 0.3])},
  }
  return norm, variables, x


def test_batch_norm_always_uses_running_statistics():
  norm, variables, x = _batch_norm()
  mean, var = [0.5, 4.0], np.array([4.0, 0.3])
  expected = (x - mean) / np.sqrt(var + 1e-3) * [2.0, -1.0] + [0.1, 0.2]
  still = norm.apply(variables, x)
  np.testing.assert_allclose(still, expected, rtol=1e-4, atol=1e-4)
  training, _ = norm.apply(variables, x, mutable=MOVING)
  np.testing.assert_array_equal(training, still)
  vector = norm.apply(variables, x[:, 0, 0])
  np.testing.assert_allclose(vector, expected[:, 0, 0], rtol=1e-4, atol=1e-4)


def test_running_statistics_move_only_in_training():
  norm, variables, x = _batch_norm()
  _, moved = norm.apply(variables, x, mutable=MOVING)
  batch = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
  for name, value in moved["batch_stats"].items():
    start = variables["batch_stats"][name]
    expected = 0.75 * start + 0.25 * batch[name]
    np.testing.assert_allclose(value, expected, rtol=1e-4)
  _, other = norm.apply(variables, x, mutable=["diagnostics"])
  assert "batch_stats" not in other


def test_running_statistics_converge_to_the_data():
  norm, _, x = _batch_norm()
  variables = norm.init(jax.random.key(0, impl="rbg"), x)
  np.testing.assert_array_equal(variables["batch_stats"]["mean"], [0, 0])
  np.testing.assert_array_equal(variables["batch_stats"]["var"], [1, 1])

  def step(statistics, _):
    now = {**variables, "batch_stats": statistics}
    _, moved = norm.apply(now, x, mutable=MOVING)
    return moved["batch_stats"], None

  reached, _ = lax.scan(step, variables["batch_stats"], length=60)
  np.testing.assert_allclose(reached["mean"], x.mean((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(reached["var"], x.var((0, 1, 2)), rtol=1e-4)


def test_statistics_have_no_gradient():
  norm, variables, x = _batch_norm()

  def loss(x):
    out, moved = norm.apply(variables, x, mutable=MOVING)
    return jnp.sum(out[..., 0]) + 1e3 * sum(
      jnp.sum(leaf) for leaf in jax.tree.leaves(moved)
    )

  slope = 2 / np.sqrt(4 + 1e-3)
  gradient = jax.grad(loss)(x)
  np.testing.assert_allclose(gradient[..., 0], slope, rtol=1e-5)
  np.testing.assert_array_equal(gradient[..., 1], 0)


def test_unknown_norm_raises():
  with pytest.raises(ValueError, match="'group' or 'batch', got 'layer'"):
    Norm("layer").init(jax.random.key(0), np.zeros((1, 2)))


@pytest.fixture(scope="module")
def stacked():
  """Scanned couplings, variables, x and a condition.

  Each coupling has a head of its own, with running statistics.
  """
  net = functools.partial(Subnet, widths=(6,), kernels=(3, 1))
  coupling = bj.Conditioned(
    bj.AffineCoupling(net), "features", Head(1, 4, "batch")
  )
  stack = bj.Stack(bj.Chain((coupling, bj.Orthogonal())), 3)
  x, cond = _normal(1, 2, 4, 4, 4), {"features": _normal(2, 2, 8, 8, 3)}
  # The flow's Jacobian has singular values from 0.38 to 2.7. At a scale of 0.3
  # they range from 0.017 to 78, and rounding z moves x by up to 1e-4.
  return stack, draw_variables(stack, 5, x, cond, scale=0.2), x, cond


def test_stacked_heads_round_trip_in_training(stacked):
  stack, variables, x, cond = stacked
  run = functools.partial(stack.apply, variables, mutable=MOVING)
  forward = jax.jit(functools.partial(run, method="forward"))
  inverse = jax.jit(functools.partial(run, method="inverse"))
  (z, log_det), moved = forward(x, cond)
  (back, minus_log_det), moved_again = inverse(z, cond)
  np.testing.assert_allclose(back, x, atol=1e-5)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-4)
  outside, _ = jax.jit(functools.partial(stack.apply, variables))(x, cond)
  np.testing.assert_allclose(outside, z, rtol=1e-5, atol=1e-5)
  # Every copy's head has its own statistics of the same features.
  for statistics in (moved, moved_again):
    for name, before in variables["batch_stats"].items():
      after = statistics["batch_stats"][name]
      jax.tree.map(_assert_moved, before, after)


def _assert_moved(before, after):
  assert before.shape == after.shape == (3, 4)
  assert np.all(np.asarray(before) != np.asarray(after))
  assert np.unique(after).size == 12


def test_features_matter(stacked):
  stack, variables, x, cond = stacked
  run = jax.jit(functools.partial(stack.apply, variables))
  other = {"features": -cond["features"]}
  assert np.abs(run(x, cond)[0] - run(x, other)[0]).max() > 1e-2
