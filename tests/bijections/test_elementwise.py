"""Elementwise maps: densities in the data's units, and safety at the bounds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from cinn_jax import bijections as bj
from tests.support.drawing import normal


def _run(bijection, value, method="forward"):
  run = jax.jit(functools.partial(bijection.apply, {}, method=method))
  return run(jnp.asarray(value, jnp.float32))


def _density(bijection, points, base=stats.norm):
  """Returns p(x) at points of one channel if the latent follows `base`."""
  z, log_det = _run(bijection, points[:, None])
  return np.exp(base.logpdf(np.asarray(z, np.float64)[:, 0]) + log_det)


def test_standardize_formula():
  mean, std = (10.0, -1.0, 0.0), (2.0, 0.25, 5.0)
  x = normal(0, (2, 4, 4, 3)) * std + mean
  z, log_det = _run(bj.Standardize(mean, std), x)
  np.testing.assert_allclose(z, (x - mean) / std, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(log_det, -16 * np.log(std).sum(), atol=1e-5)


def test_standardize_gives_the_normal_density():
  points = np.linspace(4, 22, 50)
  density = _density(bj.Standardize(13.0, 3.0), points)
  np.testing.assert_allclose(density, stats.norm(13, 3).pdf(points), rtol=1e-4)


@pytest.mark.parametrize(
  "low, high, start, end",
  [
    (0.0, 1.0, 0.0, 1.0),
    (-20.0, 235.0, -20.0, 235.0),
    (3.0, None, 3.0, 13.0),
    (None, -5.0, -15.0, -5.0),
    (None, None, -9.0, 9.0),
  ],
)
def test_densities_integrate_to_1(low, high, start, end):
  edges = np.linspace(start, end, 40_001)
  middles = (edges[1:] + edges[:-1]) / 2
  density = _density(bj.Bounded(low, high), middles)
  assert np.sum(density) * (edges[1] - edges[0]) == pytest.approx(1, abs=2e-4)


def test_logistic_latent_is_uniform_between_bounds():
  points = np.linspace(-19.9, 234.9, 101)
  density = _density(bj.Bounded(-20.0, 235.0), points, stats.logistic)
  np.testing.assert_allclose(density, 1 / 255, rtol=1e-4)


@pytest.mark.parametrize("low, high, sign", [(2.0, None, 1), (None, 2.0, -1)])
def test_one_sided_bound_uses_softplus(low, high, sign):
  z = np.linspace(-8, 30, 60)[:, None] * sign
  x, log_det = _run(bj.Bounded(low, high), z, "inverse")
  np.testing.assert_allclose(x, 2 + sign * np.logaddexp(0, sign * z), rtol=1e-5)
  slope = stats.logistic.logcdf(sign * z[:, 0])
  np.testing.assert_allclose(log_det, slope, rtol=1e-4, atol=1e-6)


def test_bounds_per_channel():
  bounded = bj.Bounded((0.0, None, -1.0, None), (None, 0.0, 1.0, None))
  x = np.array([[0.5, -0.5, 0.5, -7.0]])
  z, log_det = _run(bounded, x)
  one_sided = np.log(np.expm1(0.5))
  np.testing.assert_allclose(
    z, [[one_sided, -one_sided, np.log(3), -7]], rtol=1e-5
  )
  slope = -np.log1p(-np.exp(-0.5))
  expected = 2 * slope + np.log(2) - np.log(1.5) - np.log(0.5)
  np.testing.assert_allclose(log_det, [expected], rtol=1e-5)


BOUNDS = [
  (0.0, 1.0),
  (-2.0, 0.0),
  (-20.0, 235.0),
  (0.0, None),
  (-3.0, None),
  (None, 7.0),
]


@pytest.mark.parametrize("low, high", BOUNDS)
def test_far_latents_stay_inside_and_finite(low, high):
  bounded = bj.Bounded(low, high)
  z = np.array([-1e30, -1e3, -90, -20, 0, 20, 90, 1e3, 1e30])[:, None]
  x, log_det = _run(bounded, z, "inverse")
  assert np.isfinite(x).all() and np.isfinite(log_det).all()
  assert low is None or (x > low).all()
  assert high is None or (x < high).all()
  assert (np.diff(x[:, 0]) >= 0).all()
  again, forward_log_det = _run(bounded, x)
  assert np.isfinite(again).all() and np.isfinite(forward_log_det).all()


@pytest.mark.parametrize("low, high", BOUNDS)
def test_round_trip_and_gradients_close_to_bounds(low, high):
  """Checks distances down to 1e-37, with a relative error of 2e-5."""
  bounded = bj.Bounded(low, high)
  distances = 10.0 ** np.arange(-37, 2)
  lowest = -np.inf if low is None else low
  highest = np.inf if high is None else high
  x = np.concatenate([lowest + distances, highest - distances])
  x = x.astype(np.float32)
  x = x[(x > lowest) & (x < highest) & (x != 0)][:, None]
  assert len(x) >= 8
  z, log_det = _run(bounded, x)
  back, inverse_log_det = _run(bounded, z, "inverse")
  np.testing.assert_allclose(back, x, rtol=2e-5)
  assert np.isfinite(log_det).all()
  np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-4)

  def total(x):
    z, log_det = bounded.apply({}, x)
    return jnp.sum(z) + jnp.sum(log_det)

  assert np.isfinite(jax.jit(jax.grad(total))(x)).all()


def test_values_outside_raise_in_eager_mode():
  bounded = bj.Bounded((0.0, None), (1.0, 5.0))
  x = jnp.asarray([[0.5, 4.0], [0.0, 4.0], [0.5, 9.0], [jnp.nan, 0.0]])
  for value in (x, np.asarray(x)):
    with pytest.raises(ValueError) as error:
      bounded.apply({}, value)
    message = str(error.value)
    assert "3 of 8 values" in message
    assert "strictly inside, or wider bounds." in message
  bounded.apply({}, x[:1])


def test_values_outside_give_infinite_log_det_in_jit():
  x = jnp.asarray([[0.5], [0.0], [1.0], [-1.0], [2.0]])
  _, log_det = _run(bj.Bounded(0.0, 1.0), x)
  assert np.isfinite(log_det).tolist() == [True, False, False, False, False]
  _, log_det = _run(bj.Bounded(0.0), x)
  assert np.isfinite(log_det).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_values_outside_do_not_raise_in_a_trace(transform):
  bounded = bj.Bounded(0.0, 1.0)

  def total(x):
    z, log_det = bounded.apply({}, jnp.reshape(x, (-1, 1)))
    return jnp.sum(z) + jnp.sum(log_det)

  values = jnp.asarray([0.5, 0.0])
  assert np.isfinite(transform(total)(values[:1])).all()
  assert not np.isfinite(transform(total)(values)).all()


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, None), (None, -1.0)])
def test_zeros_may_initialise_bounded(low, high):
  chain = bj.Chain((bj.Bounded(low, high), bj.ActNorm()))
  x = jnp.zeros((1, 2, 2, 3))
  key = jax.random.key(0, impl="rbg")
  for init in (chain.init, jax.jit(chain.init)):
    for leaf in jax.tree.leaves(init(key, x)):
      np.testing.assert_array_equal(leaf, 0)
