"""Conditional Glow: its condition and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import abstract_batch, draw_variables, normal

SMALL = {
  "levels": 2,
  "depth": 2,
  "hidden": 4,
  "head": 4,
  "condition_channels": (4, 6),
}
X = np.random.default_rng(0).random((2, 8, 4, 3)).astype(np.float32)
COND = np.random.default_rng(1).random((2, 8, 4, 1)).astype(np.float32)


def test_round_trip_and_condition_at_all_levels():
  model = build_model("conditional_glow", **SMALL)
  flow = make_flow(model, X.shape[1:], COND.shape[1:])
  variables = draw_variables(model, 1, X, COND, scale=0.1)
  forward = jax.jit(flow.forward)
  z, log_det = forward(variables, X, COND)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, COND)
  np.testing.assert_allclose(back, X, atol=1e-3)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-3)
  other, _ = forward(variables, X, COND[::-1])
  assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(z, other, strict=True))


def test_all_networks_of_a_step_see_the_condition():
  model = build_model("conditional_glow", **SMALL)
  shapes = jax.eval_shape(model.init, jax.random.key(0), X, COND)["params"]
  step = shapes["bijection"]["stages_0"]["parts_1"]["block"]
  # Mean features reach ActNorm and mixing; the level's features the coupling.
  for part in ("parts_1", "parts_3"):
    net = step[part]["bijection"]["net"]
    assert net["layer_0"]["kernel"].shape == (2, 6, 4)
  coupling = step["parts_4"]["bijection"]["net_1"]
  assert coupling["condition_0"]["kernel"].shape == (2, 3, 3, 4, 4)


def test_conditional_mixing_is_never_singular():
  mixing = bj.ConditionalMixing(
    lambda: Subnet(widths=(), kernels=(1,)), alpha=1.0
  )
  x, cond = normal(0, (4, 3, 8), np.float32), normal(1, (4, 5), np.float32)
  variables = draw_variables(mixing, 2, x, cond, scale=1e4)
  z, log_det = jax.jit(mixing.apply)(variables, x, cond)
  back, _ = mixing.apply(variables, z, cond, method="inverse")
  np.testing.assert_allclose(back, x, atol=1e-4)
  # Each scale is between exp(-1) and e, at 3 positions.
  assert np.abs(log_det).max() <= 3 * 8
  # Each example has its own matrix.
  same = jnp.broadcast_to(x[:1], x.shape)
  z, _ = mixing.apply(variables, same, cond)
  assert np.abs(z[0] - z[1]).max() > 0.1


def test_conditional_mixing_of_maps_raises():
  mixing = bj.ConditionalMixing(lambda: None)
  with pytest.raises(ValueError, match=r"takes vectors .* average maps over"):
    jax.eval_shape(mixing.init, jax.random.key(0), X, COND)


def test_channels_must_match_levels():
  with pytest.raises(ValueError, match="channels for 3 levels, got 2"):
    build_model("conditional_glow", **{**SMALL, "levels": 3})


def test_condition_may_be_smaller():
  model = build_model("conditional_glow", **SMALL)
  x, cond = abstract_batch(((8, 4, 3), (4, 2, 3)), 2, jnp.float32)
  z = jax.eval_shape(
    lambda: model.init_with_output(jax.random.key(0), X, jnp.zeros(cond.shape))
  )[0][0]
  assert sum(leaf.size for leaf in z) == x.size
