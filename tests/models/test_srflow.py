"""SRFlow: its size, its levels, its condition and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.runtime.flops import flops
from tests.support.drawing import (
  abstract_batch,
  draw_like,
  draw_variables,
  normal,
)

SMALL = {
  "levels": 3,
  "depth": 2,
  "hidden": 4,
  "blocks": 2,
  "taps": (0, 1),
  "encoder_width": 4,
  "encoder_growth": 3,
}
# Not square; the data are four times as large as the condition.
X = np.random.default_rng(0).random((2, 16, 8, 3)).astype(np.float32)
COND = np.random.default_rng(1).random((2, 4, 2, 3)).astype(np.float32)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _draw(**options):
  """Returns a small flow and random variables."""
  model = build_model("srflow", **{**SMALL, **options})
  flow = make_flow(model, X.shape[1:], COND.shape[1:])
  return flow, draw_variables(model, 2, X, COND, scale=0.1)


def _conv(inputs, outputs, kernel=3):
  """Counts the parameters of a convolution."""
  return kernel**2 * inputs * outputs + outputs


def _encoder(blocks, doublings, width=64, growth=32):
  """Counts the parameters of an encoder, layer by layer."""
  dense = sum(_conv(width + k * growth, growth) for k in range(4))
  dense += _conv(width + 4 * growth, width)
  # Before and after the blocks, each doubling, and two in the head.
  rest = _conv(3, width) + (2 + doublings) * _conv(width, width)
  return blocks * 3 * dense + rest + _conv(width, 3)


def _flow(channels, depth=16, hidden=64, features=320):
  """Counts two transitions and `depth` steps of every level."""
  total = 0
  for c in channels:
    mix = 2 * c + c**2
    nets = [
      _conv(inputs, hidden) + _conv(hidden, hidden, 1) + _conv(hidden, outputs)
      for inputs, outputs in ((features, 2 * c), (c // 2 + features, c))
    ]
    total += 2 * mix + depth * (mix + sum(nets))
  return total


def test_encoder_has_as_many_parameters_as_esrgan():
  encoder = RRDBEncoder(levels=3)
  cond = abstract_batch((16, 16, 3), 1, jnp.float32)
  shapes = jax.eval_shape(
    lambda c: encoder.init(jax.random.key(0), c, 4)["params"], cond
  )
  # ESRGAN's generator for 4 times, by hand and as published.
  assert _count(shapes) == _encoder(23, 2) == 16_697_987


@pytest.mark.parametrize(
  "options, scale, channels, split_channels, latents",
  [
    # As published, there is no split between the last two levels.
    ({}, 4, (12, 24, 96), (6,), [(6, 32), (96, 8)]),
    (
      {"levels": 4, "blocks": 8, "taps": (1, 3, 5, 7)},
      8,
      (12, 24, 48, 192),
      (6, 12),
      [(6, 32), (12, 16), (192, 4)],
    ),
    (
      {"correct_splits": True},
      4,
      (12, 24, 48),
      (6, 12),
      [(6, 32), (12, 16), (48, 8)],
    ),
  ],
)
def test_latents_and_parameter_count(
  options, scale, channels, split_channels, latents
):
  model = build_model("srflow", **options)
  x = abstract_batch((64, 64, 3), 1, jnp.float32)
  cond = abstract_batch((64 // scale, 64 // scale, 3), 1, jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), x, cond)
  params = variables["params"]
  priors = sum(_conv(c, 2 * c) for c in split_channels)
  assert _count(params["bijection"]) == _flow(channels) + priors
  assert _count(params["condition_net"]) == _encoder(
    options.get("blocks", 23), int(np.log2(scale))
  )
  z, _ = jax.eval_shape(model.apply, variables, x, cond)
  assert [(leaf.shape[-1], leaf.shape[1]) for leaf in z] == latents


def test_round_trip():
  flow, variables = _draw(mixing="lu", prior_features=True)
  z, log_det = jax.jit(flow.forward)(variables, X, COND)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, COND)
  assert np.abs(log_det).min() > 1
  np.testing.assert_allclose(back, X, atol=1e-3)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-3)


def test_inverse_without_splits_has_the_right_size():
  flow, variables = _draw(levels=2)
  z, _ = jax.eval_shape(flow.forward, variables, X, COND)
  assert [leaf.shape for leaf in z] == [(2, 4, 2, 48)]
  x, _ = jax.eval_shape(flow.inverse, variables, z, COND)
  assert x.shape == X.shape


def test_prior_features_option():
  for sees in (False, True):
    model = build_model("srflow", **SMALL, prior_features=sees)
    variables = jax.eval_shape(model.init, jax.random.key(0), X, COND)
    prior = variables["params"]["bijection"]["splits_0"]["bijection"]
    assert ("condition_0" in prior["network"]) == sees


def test_features_by_level():
  encoder = RRDBEncoder(levels=4, blocks=2, taps=(1,), width=4, growth=3)
  cond = normal(0, (2, 4, 8, 3), np.float32)
  shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), cond, 4))
  params = draw_like(shapes, 1, np.float32, scale=0.2)
  features = jax.jit(lambda p: encoder.apply(p, cond, 4))(params)
  sizes = [(8, 16), (4, 8), (2, 4), (1, 2)]
  for k, size in enumerate(sizes):
    assert features[f"level_{k}"].shape == (2, *size, 8)
  # Coarser than the small picture: averages of 2x2.
  same, coarser = features["level_1"], features["level_2"]
  averages = same.reshape(2, 2, 2, 4, 2, 8).mean(axis=(2, 4))
  np.testing.assert_allclose(coarser, averages, atol=1e-5)
  # The tapped features are repeated without a convolution.
  np.testing.assert_array_equal(
    features["level_0"][:, ::2, 1::2, 4:], same[..., 4:]
  )
  guess = jax.eval_shape(
    lambda p: encoder.apply(p, cond, method="predict"), params
  )
  assert guess.shape == (2, 16, 32, 3)


@pytest.mark.parametrize(
  "x, cond, message",
  [
    ((20, 16), (5, 4), r"multiples of 8, got 20x16: .* 16x16 or 24x16"),
    ((48, 48), (16, 16), r"got 48x48 for 16x16: the nearest is 64x64"),
    ((64, 32), (16, 16), r"got 64x32 for 16x16: the nearest is 64x64"),
  ],
)
def test_bad_sizes_raise(x, cond, message):
  model = build_model("srflow", **SMALL)
  data = abstract_batch((*x, 3), 1, jnp.float32)
  given = abstract_batch((*cond, 3), 1, jnp.float32)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), data, given)


def test_condition_must_be_a_picture():
  model = build_model("srflow", **SMALL)
  with pytest.raises(ValueError, match=r"\[B, H, W, C\], got NoneType"):
    jax.eval_shape(model.init, jax.random.key(0), X)
  with pytest.raises(ValueError, match=r"\[B, H, W, C\], got \(2, 5\)"):
    jax.eval_shape(model.init, jax.random.key(0), X, jnp.ones((2, 5)))


def test_too_large_scale_raises():
  model = build_model("srflow", **SMALL)
  variables = jax.eval_shape(model.init, jax.random.key(0), X, COND)
  scale = X.shape[1] // COND.shape[1]
  small = abstract_batch((8, 8, 3), 1, jnp.float32)
  for times in (2 * scale, 4 * scale):
    large = abstract_batch((8 * times, 8 * times, 3), 1, jnp.float32)
    if times == 2 * scale:
      jax.eval_shape(model.apply, variables, large, small)
      continue
    with pytest.raises(ValueError, match=f"up to {2 * scale} times .* {times}"):
      jax.eval_shape(model.apply, variables, large, small)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"mixing": "permutation"}, "full or lu, got 'permutation'"),
    ({"taps": (0, 2)}, "blocks from 0 to 1, got"),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message):
    model = build_model("srflow", **{**SMALL, **options})
    jax.eval_shape(model.init, jax.random.key(0), X, COND)


@pytest.mark.slow
def test_samples_share_the_conditions_part():
  model = build_model("srflow", **SMALL, mixing="lu")
  flow = make_flow(model, X.shape[1:])
  x, cond = abstract_batch(((16, 8, 3), (4, 2, 3)), 1, jnp.float32)
  variables = jax.eval_shape(flow.init, jax.random.key(0), x, cond)

  def cost(samples):
    return flops(
      lambda v, c: flow.sample(v, jax.random.key(0), c, num_samples=samples),
      variables,
      cond,
    )

  encoder = flops(
    lambda v, c: model.apply(v, c, (16, 8), method="features"),
    variables,
    cond,
  )
  # Of two steps per level: the injector, and the couplings' products of the 12
  # features.
  shared = sum(
    2 * 2 * positions * (9 * 12 * 4 + 4 * 4 + 9 * 4 * 2 * c + 9 * 12 * 4)
    for positions, c in ((32, 12), (8, 24), (2, 96))
  )
  each = (cost(5) - cost(1)) / 4
  assert cost(1) == each + encoder + shared


def test_enlarged_features_are_taken_before_the_activation():
  encoder = RRDBEncoder(levels=1, blocks=1, taps=(0,), width=4, growth=3)
  cond = normal(0, (1, 4, 4, 3), np.float32)
  shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), cond, 4))
  variables = draw_like(shapes, 1, np.float32, 0.5)
  features = encoder.apply(variables, cond, 4)["level_0"][..., :4]
  # A leaky ReLU of slope 0.2 would leave few numbers below its image.
  below, above = features[features < 0], features[features > 0]
  assert np.abs(below).mean() > 0.5 * above.mean()


@pytest.mark.slow
def test_only_dense_blocks_start_small():
  encoder = RRDBEncoder(levels=1, blocks=2, taps=(0,), width=32, growth=32)
  cond = jnp.zeros((1, 4, 4, 3))
  params = encoder.init(jax.random.key(0), cond, 4)["params"]
  for name, kernel in (
    ("first", params["first"]["kernel"]),
    ("trunk", params["trunk"]["kernel"]),
    ("up_1", params["up_1"]["kernel"]),
  ):
    fan_in = np.prod(kernel.shape[:3])
    assert np.var(kernel) * 3 * fan_in == pytest.approx(1, rel=0.15), name
  for name, layer in params["blocks"].items():
    fan_in = np.prod(layer["kernel"].shape[1:4])
    variance = np.var(layer["kernel"])
    assert variance * fan_in / 0.02 == pytest.approx(1, rel=0.15), name
