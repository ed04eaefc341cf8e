"""Glow: its size, its condition, its inverse and its dequantization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.spline_dequantization import dequantization
from tests.support.drawing import abstract_batch, draw_variables

SMALL = {"levels": 2, "depth": 2, "hidden": 6}
# In [0, 1), as with a task's noise, and not square.
X = np.random.default_rng(0).random((3, 4, 8, 3)).astype(np.float32)
LABELS = np.eye(5, dtype=np.float32)[[0, 3, 3]]


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _draw(cond=LABELS, **options):
  """Returns a small Glow and random variables."""
  model = build_model("glow", **{**SMALL, **options})
  return make_flow(model, X.shape[1:]), draw_variables(
    model, 1, X, cond, scale=0.1
  )


def _parameters(levels, depth, hidden):
  """Counts the parameters of all steps and priors."""
  total = 0
  for k in range(levels):
    c = 12 * 2**k
    net = 9 * (c // 2) * hidden + hidden**2 + 9 * hidden * c + 2 * hidden + c
    total += depth * (2 * c + c**2 + net)
    if k < levels - 1:
      total += 9 * (c // 2) * c + c
    else:
      total += 2 * c
  return total


def test_latents_and_parameter_count_for_cifar():
  model = build_model("glow")
  x = abstract_batch((32, 32, 3), 1, jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  assert _count(variables["params"]) == _parameters(3, 32, 512)
  z, _ = jax.eval_shape(model.apply, variables, x)
  shapes = [(16, 16, 6), (8, 8, 12), (4, 4, 48)]
  assert [leaf.shape[1:] for leaf in z] == shapes


@pytest.mark.parametrize(
  "options",
  [
    {"condition": "couplings", "dequantization_depth": 2},
    pytest.param(
      {"coupling": "additive", "learned_priors": False}, marks=pytest.mark.slow
    ),
  ],
)
def test_round_trip(options):
  flow, variables = _draw(**options)
  z, log_det = jax.jit(flow.forward)(variables, X, LABELS)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, LABELS)
  assert np.abs(log_det).min() > 0.1
  np.testing.assert_allclose(back, X, atol=2e-4)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-3)


@pytest.mark.parametrize(
  "condition, reaches",
  [
    ("none", [False, False]),
    ("prior", [False, True]),
    ("couplings", [True, True]),
  ],
)
def test_class_reaches_the_chosen_parts(condition, reaches):
  flow, variables = _draw(condition=condition)
  forward = jax.jit(flow.forward)
  one, _ = forward(variables, X, LABELS)
  other, _ = forward(variables, X, LABELS[[1, 0, 0]])
  assert [
    np.abs(a - b).max() > 1e-3 for a, b in zip(one, other, strict=True)
  ] == reaches


def test_empty_condition_equals_none():
  flow, variables = _draw(cond=None)
  nothing = np.zeros((3, 0), np.float32)
  log_prob = jax.jit(flow.log_prob)
  np.testing.assert_array_equal(
    log_prob(variables, X, nothing).total, log_prob(variables, X).total
  )
  x, log_prob = jax.eval_shape(
    lambda key: flow.sample(variables, key, nothing, num_samples=2),
    jax.random.key(0),
  )
  assert x.shape == (3, 2, *X.shape[1:]) and log_prob.shape == (3, 2)


@pytest.mark.slow
def test_latents_start_at_similar_scales():
  model = build_model("glow", **SMALL)
  variables = jax.jit(model.init)(jax.random.key(0, impl="rbg"), X)
  (fine, coarse), _ = jax.jit(model.apply)(variables, X)
  # A rotation and scales of sigmoid(2) follow the last ActNorm.
  assert 0.5 < np.std(fine) < 1.1 and 0.5 < np.std(coarse) < 1.1


@pytest.mark.slow
def test_dequantization_keeps_whole_numbers_and_volume():
  front = dequantization(depth=2, hidden=4)
  whole = np.array([[3, 200], [0, 255]]).reshape(1, 2, 2, 1)
  x = (whole + jax.random.uniform(jax.random.key(0), (4000, 2, 2, 1))) / 256
  variables = draw_variables(front, 3, x[:1], scale=0.1)
  moved, log_det = jax.jit(front.apply)(variables, x)
  np.testing.assert_array_equal(np.floor(moved * 256), whole + 0 * moved)
  assert np.abs(moved - x).max() * 256 > 0.05 and np.std(log_det) > 0.2
  # On average over the noise, |du'/du| is the volume of the unit cube.
  assert np.mean(np.exp(log_det)) == pytest.approx(1, abs=0.02)
  # At the start it shuffles the noise.
  variables = jax.jit(front.init)(jax.random.key(0, impl="rbg"), x[:1])
  moved, log_det = front.apply(variables, x[:5])
  before, after = ((a * 256 % 1).reshape(5, 4) for a in (x[:5], moved))
  np.testing.assert_allclose(np.sort(after), np.sort(before), atol=2e-3)
  np.testing.assert_allclose(log_det, 0, atol=1e-4)


def test_bad_size_raises():
  model = build_model("glow", **SMALL)
  x = abstract_batch((6, 13, 3), 2, jnp.float32)
  with pytest.raises(ValueError, match=r"of 4, got 6x13: .* to 4x12 or 8x16"):
    jax.eval_shape(model.init, jax.random.key(0), x)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"coupling": "spline"}, "affine or additive, got 'spline'"),
    ({"condition": "all"}, "none, prior, couplings, got 'all'"),
    (
      {"condition": "prior", "learned_priors": False},
      "'prior' takes learned_priors=True",
    ),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message):
    build_model("glow", **options)
