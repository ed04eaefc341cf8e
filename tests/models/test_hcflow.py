"""HCFlow: its size, its latents, and what each level depends on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.rrdb import RRDBFeatures
from cinn_jax.runtime.flops import flops
from tests.support.drawing import (
  abstract_batch,
  draw_like,
  draw_variables,
  normal,
)
from tests.support.small_models import SMALL as SMALL_MODELS

SMALL = {**SMALL_MODELS["hcflow"].settings, "mixing": "lu"}
# Not square; the data are four times as large as the condition.
X = np.random.default_rng(0).random((2, 16, 8, 3)).astype(np.float32)
COND = np.random.default_rng(1).random((2, 4, 2, 3)).astype(np.float32)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _conv(inputs, outputs, kernel=3):
  """Counts the parameters of a convolution."""
  return kernel**2 * inputs * outputs + outputs


def _steps(channels, features, depth=13, hidden=64):
  """Counts ActNorms, full mixings and one-sided couplings."""
  passive = channels // 2
  net = _conv(passive + features, hidden) + _conv(hidden, hidden, 1)
  net += _conv(hidden, 2 * (channels - passive))
  return depth * (2 * channels + channels**2 + net)


def _features(inputs, blocks, width=64, growth=32):
  """Counts the parameters of the network of a level's features."""
  dense = sum(_conv(width + k * growth, growth) for k in range(4))
  dense += _conv(width + 4 * growth, width)
  return 2 * blocks * 3 * dense + _conv(inputs, width) + _conv(width, width)


@pytest.mark.parametrize(
  "options, squeezed, kept, latents",
  [
    ({}, (12, 24), (6, 3), [(6, 32), (21, 16), (3, 16)]),
    (
      {"levels": 3, "blocks": 5},
      (12, 24, 48),
      (6, 12, 3),
      [(6, 32), (12, 16), (45, 8), (3, 8)],
    ),
    ({"levels": 1}, (12,), (3,), [(9, 32), (3, 32)]),
  ],
)
def test_latents_and_parameter_count(options, squeezed, kept, latents):
  model = build_model("hcflow", **options)
  levels = len(squeezed)
  small = 64 // 2**levels
  x = abstract_batch((64, 64, 3), 1, jnp.float32)
  cond = abstract_batch((small, small, 3), 1, jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), x, cond)
  params, blocks = variables["params"], options.get("blocks", 7)
  for k, (channels, rest) in enumerate(zip(squeezed, kept, strict=True)):
    details = channels - rest
    assert _count(params[f"stages_{k}"]) == _steps(channels, 0)
    prior = _conv(128, 2 * details)
    assert _count(params[f"details_{k}"]) == _steps(details, 128) + prior
    is_coarsest = k == levels - 1
    net = params["condition_net" if is_coarsest else f"feature_nets_{k}"]
    inputs = rest + 128 * (levels - 1 - k)
    assert _count(net) == _features(inputs, blocks)
  z, _ = jax.eval_shape(model.apply, variables, x, cond)
  assert [(leaf.shape[-1], leaf.shape[1]) for leaf in z] == latents


@functools.cache
def _drawn():
  model = build_model("hcflow", **SMALL)
  variables = draw_variables(model, 2, X, COND, scale=0.1)
  return make_flow(model, X.shape[1:], COND.shape[1:]), variables


def test_round_trip():
  flow, variables = _drawn()
  z, log_det = jax.jit(flow.forward)(variables, X, COND)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, COND)
  np.testing.assert_allclose(back, X, atol=1e-3)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-3)


def test_finer_details_depend_on_coarser_latents_and_not_the_reverse():
  flow, variables = _drawn()
  z, _ = jax.jit(flow.forward)(variables, X, COND)

  def halve(module, x):
    return module.splits[0].forward(module.stages[0].forward(x)[0])[0]

  @jax.jit
  def parts(z):
    x, _ = flow.inverse(variables, z, COND)
    return flow.module.apply(variables, x, method=halve)

  details, rest = parts(z)
  fine_details, fine_rest = parts((z[0] + 0.5, *z[1:]))
  np.testing.assert_allclose(fine_rest, rest, atol=1e-4)
  assert np.abs(fine_details - details).max() > 0.1
  # With equal latents of their own.
  coarse_details, coarse_rest = parts((z[0], z[1] + 0.5, z[2]))
  assert np.abs(coarse_rest - rest).max() > 0.1
  assert np.abs(coarse_details - details).max() > 1e-3


def test_the_coarsest_latent_is_the_small_picture():
  model = build_model("hcflow", **SMALL)
  _, variables = _drawn()
  run = jax.jit(model.apply)
  by_cond = [run(variables, X, cond)[0][-1] for cond in (COND, COND + 0.01)]
  np.testing.assert_allclose(
    by_cond[0] - by_cond[1], 0.01 * np.exp(6), rtol=1e-3
  )
  # A wider Gaussian takes nothing from the other latents.
  wide = build_model("hcflow", **SMALL, log_std=0.0)
  z, log_det = jax.jit(wide.apply)(variables, X, COND)
  np.testing.assert_allclose(z[-1] * np.exp(6), by_cond[0], rtol=1e-4)
  narrow = run(variables, X, COND)[1]
  np.testing.assert_allclose(narrow - log_det, 6 * 4 * 2 * 3, rtol=1e-4)


def test_features_are_those_halfway_and_at_the_end():
  net = RRDBFeatures(blocks=2, width=4, growth=3)
  maps = normal(0, (2, 4, 8, 5), np.float32)
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), maps))
  params = draw_like(shapes, 1, np.float32, scale=0.2)
  features = net.apply(params, maps)
  assert features.shape == (2, 4, 8, 8)
  # Without the later blocks the first half stays; the rest is what comes after.
  kept = np.arange(4) < 2
  blocks = jax.tree.map(
    lambda leaf: leaf * kept.reshape(-1, *(1,) * (leaf.ndim - 1)),
    params["params"]["blocks"],
  )
  again = net.apply({"params": {**params["params"], "blocks": blocks}}, maps)
  np.testing.assert_allclose(again[..., :4], features[..., :4], atol=1e-5)
  assert np.abs(again[..., 4:] - features[..., 4:]).max() > 1e-2


@pytest.mark.parametrize(
  "x, cond, message",
  [
    ((18, 16), (5, 4), r"multiples of 4, got 18x16: .* 16x16 or 20x16"),
    ((16, 16), (8, 8), r"enlarges 4 times, .* small picture of 4x4x3, got 8x8"),
    ((16, 8), (2, 4), r"for 16x8x3 it takes a small picture of 4x2x3, got 2x4"),
  ],
)
def test_bad_sizes_raise(x, cond, message):
  model = build_model("hcflow", **SMALL)
  data = abstract_batch((*x, 3), 1, jnp.float32)
  given = abstract_batch((*cond, 3), 1, jnp.float32)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), data, given)


def test_a_condition_with_fewer_channels_is_not_broadcast():
  model = build_model("hcflow", **SMALL)
  with pytest.raises(ValueError, match=r"picture of 4x2x3, got 4x2x1"):
    jax.eval_shape(model.init, jax.random.key(0), X, COND[..., :1])
  _, variables = _drawn()
  z, _ = jax.eval_shape(model.apply, variables, X, COND)
  inverse = functools.partial(model.apply, method="inverse")
  with pytest.raises(ValueError, match=r"has shape \[2, 4, 2, 3\], but the"):
    jax.eval_shape(inverse, variables, z, COND[..., :1])


def test_condition_must_be_a_picture():
  model = build_model("hcflow", **SMALL)
  with pytest.raises(ValueError, match=r"\[B, H, W, C\], got NoneType"):
    jax.eval_shape(model.init, jax.random.key(0), X)


@pytest.mark.slow
def test_samples_share_the_features_of_the_given_picture():
  model = build_model("hcflow", **SMALL)
  flow = make_flow(model, X.shape[1:], COND.shape[1:])
  x, cond = abstract_batch(((16, 8, 3), (4, 2, 3)), 1, jnp.float32)
  variables = jax.eval_shape(flow.init, jax.random.key(0), x, cond)

  def cost(samples):
    return flops(
      lambda v, c: flow.sample(v, jax.random.key(0), c, num_samples=samples),
      variables,
      cond,
    )

  net = flops(
    lambda v, c: model.apply(v, c, method=lambda m, c: m.condition_net(c)),
    variables,
    cond,
  )
  # Of two steps: the couplings' products of the 8 features; and the Gaussian.
  shared = 2 * 8 * 9 * 8 * (2 * 4 + 42)
  each = (cost(5) - cost(1)) / 4
  assert cost(1) == each + net + shared
