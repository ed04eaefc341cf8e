"""Rational-quadratic splines: the published function, stable in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.bijections.spline import (
  make_knots,
  spline_forward,
  spline_inverse,
)
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import abstract_batch, draw_variables, normal

BINS, BOUND = 8, 3.0
DENSE = functools.partial(Subnet, widths=(8,), kernels=(1, 1))
CONV = functools.partial(Subnet, widths=(8,), kernels=(3, 1))


@functools.cache
def _knots(scale, splines=64):
  """Makes knots of many splines; a scale of 1e30 saturates all of them."""
  head = scale * normal(0, (splines, 1, 3 * BINS - 1), np.float32)
  return make_knots(jnp.asarray(head), BOUND, min_bin=0.1, alpha=2.0)


def _grid(edges, points=2001):
  """Returns a grid from bound to bound, the knots and their neighbours."""
  grid = np.linspace(-BOUND, BOUND, points, dtype=np.float32)
  edges = np.asarray(edges[:, 0])
  inner = edges[:, 1:-1]
  neighbours = [np.nextafter(inner, np.float32(side)) for side in (-9, 9)]
  grid = np.broadcast_to(grid, (len(edges), points))
  return jnp.asarray(np.concatenate([grid, edges, *neighbours], -1))


FORWARD, INVERSE = jax.jit(spline_forward), jax.jit(spline_inverse)


def _published(x, knots):
  """Computes Durkan et al. 2019, equations 4 and 5, in float64."""
  kx, ky, d = (np.asarray(part, np.float64)[0, 0] for part in knots)
  k = min(np.searchsorted(kx, x, side="right") - 1, BINS - 1)
  s = (ky[k + 1] - ky[k]) / (kx[k + 1] - kx[k])
  xi = (x - kx[k]) / (kx[k + 1] - kx[k])
  below = s + (d[k + 1] + d[k] - 2 * s) * xi * (1 - xi)
  height = ky[k + 1] - ky[k]
  y = ky[k] + height * (s * xi**2 + d[k] * xi * (1 - xi)) / below
  top = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
  return y, np.log(s**2 * top / below**2)


def test_spline_is_the_published_function():
  knots = jax.tree.map(lambda leaf: leaf[:1], _knots(1.0))
  x = np.linspace(-BOUND, BOUND, 101, dtype=np.float32)
  y, log_slope = FORWARD(x[None], knots)
  expected = np.array([_published(point, knots) for point in x])
  np.testing.assert_allclose(y[0], expected[:, 0], atol=2e-6)
  np.testing.assert_allclose(log_slope[0], expected[:, 1], atol=1e-4)


def test_zeros_give_the_identitys_knots():
  knots = make_knots(jnp.zeros((1, 3 * BINS - 1)), BOUND, 0.1, 2.0)
  even = np.linspace(-BOUND, BOUND, BINS + 1)[None]
  np.testing.assert_allclose(knots.x, even, atol=1e-6)
  np.testing.assert_allclose(knots.y, even, atol=1e-6)
  np.testing.assert_array_equal(knots.slope, 1)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e30])
def test_knots_keep_minimum_distance_and_bounds(scale):
  knots = _knots(scale)
  for edges in (knots.x, knots.y):
    np.testing.assert_array_equal(edges[..., 0], -BOUND)
    np.testing.assert_array_equal(edges[..., -1], BOUND)
    assert np.diff(edges).min() > 0.099 * 2 * BOUND / BINS
  np.testing.assert_array_equal(knots.slope[..., [0, -1]], 1)
  assert np.abs(np.log(knots.slope)).max() <= 2.0001


@pytest.mark.parametrize(
  "scale, x_error, y_error",
  [
    (0.3, 2e-6, 1e-6),
    (1.0, 5e-5, 1e-5),
    (10.0, 4e-3, 4e-5),
    (1e30, 4e-3, 4e-5),
  ],
)
def test_round_trips_in_float32(scale, x_error, y_error):
  """Checks both directions over a grid with all knots, for any parameters.

  The smallest slope that the defaults allow is 5e-5, and float32 resolves 2e-7
  there, which gives 4e-3.
  """
  knots = _knots(scale)
  x = _grid(knots.x)
  back, inverse_log_slope = INVERSE(FORWARD(x, knots)[0], knots)
  log_slope = FORWARD(back, knots)[1]
  np.testing.assert_allclose(back, x, rtol=0, atol=x_error)
  np.testing.assert_allclose(inverse_log_slope, log_slope, rtol=0, atol=2e-2)
  y = _grid(knots.y)
  again, _ = FORWARD(INVERSE(y, knots)[0], knots)
  np.testing.assert_allclose(again, y, rtol=0, atol=y_error)


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_spline_is_monotonic_and_meets_its_knots(scale):
  knots = _knots(scale)
  inner = slice(None, -1)
  np.testing.assert_array_equal(
    FORWARD(knots.x[:, 0], knots)[0][:, inner], knots.y[:, 0, inner]
  )
  np.testing.assert_array_equal(
    INVERSE(knots.y[:, 0], knots)[0][:, inner], knots.x[:, 0, inner]
  )
  for run, edges in ((FORWARD, knots.x), (INVERSE, knots.y)):
    out, _ = run(jnp.sort(_grid(edges), axis=-1), knots)
    assert np.diff(out).min() >= -2e-6
    np.testing.assert_allclose(out[:, -1], BOUND, atol=1e-6)


@functools.cache
def _gradients(run):
  def total(head, value):
    out, log_slope = run(value, make_knots(head, BOUND, 0.1, 2.0))
    return jnp.sum(out) + jnp.sum(log_slope)

  return jax.jit(jax.grad(total, argnums=(0, 1)))


@pytest.mark.parametrize("run", [spline_forward, spline_inverse])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_are_finite_close_to_knots(scale, run):
  head = jnp.asarray(scale * normal(3, (8, 1, 3 * BINS - 1), np.float32))
  knots = make_knots(head, BOUND, 0.1, 2.0)
  value = _grid(knots.x if run is spline_forward else knots.y, points=201)
  for gradient in _gradients(run)(head, value):
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("run", [FORWARD, INVERSE])
def test_slope_is_the_derivative_at_knots(run):
  knots = _knots(1.0)
  edges = (knots.x if run is FORWARD else knots.y)[:, 0]
  out, pullback = jax.vjp(lambda value: run(value, knots)[0], edges)
  (slope,) = pullback(jnp.ones_like(out))
  log_slope = run(edges, knots)[1]
  expected = log_slope if run is FORWARD else -log_slope
  np.testing.assert_allclose(np.log(slope), expected, rtol=0, atol=1e-3)


TAILS = bj.SplineCoupling(DENSE, sides=1, bins=BINS, bound=BOUND)
FAR = [-1e30, -1e4, -3.0000002, 3.0000002, 7.0, 1e30]


def _tails_case(scale):
  """Returns variables, and data at the bounds, inside them and far outside."""
  active = np.array([-BOUND, BOUND, 0.0, -1.0, *FAR], np.float32)[:, None]
  x = jnp.asarray(np.concatenate([np.ones_like(active), active], -1))
  return draw_variables(TAILS, 0, x, scale=scale), x


@functools.cache
def _tails_gradients(method):
  def total(variables, x):
    out, log_det = TAILS.apply(variables, x, method=method)
    return jnp.sum(jnp.tanh(out)) + jnp.sum(log_det), (out, log_det)

  return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_coupling_at_its_bounds_and_in_the_tails(scale, method):
  variables, x = _tails_case(scale)
  gradients, (out, log_det) = _tails_gradients(method)(variables, x)
  for leaf in (*jax.tree.leaves(gradients), out, log_det):
    assert np.isfinite(leaf).all()
  np.testing.assert_allclose(out[:2], x[:2], atol=1e-6)
  np.testing.assert_allclose(log_det[:2], 0, atol=1e-4)
  assert np.abs(log_det[2:4]).min() > 0.01
  np.testing.assert_array_equal(out[4:], x[4:])
  np.testing.assert_array_equal(log_det[4:], 0)


def test_coupling_starts_as_the_identity():
  coupling = bj.SplineCoupling(DENSE)
  x = normal(4, (20, 6), np.float32)
  init = jax.jit(coupling.init_with_output)
  (z, log_det), _ = init(jax.random.key(0, impl="rbg"), x)
  np.testing.assert_allclose(z, x, atol=1e-6)
  np.testing.assert_allclose(log_det, 0, atol=1e-5)


def test_many_samples_share_work_on_the_condition():
  coupling = bj.SplineCoupling(CONV, sides=1, bins=2)
  z, cond = abstract_batch(((8, 8, 4), (8, 8, 256)), 2, np.float32)
  variables = jax.eval_shape(coupling.init, jax.random.key(0), z, cond)

  def flops(samples, cond_axis):
    def sample(variables, z, cond):
      return coupling.apply(variables, z, cond, method="inverse")[0]

    def repeated(leaf):
      return jax.ShapeDtypeStruct((samples, *leaf.shape), leaf.dtype)

    many = jax.jit(jax.vmap(sample, (None, 0, cond_axis)))
    conds = cond if cond_axis is None else repeated(cond)
    lowered = many.lower(variables, repeated(z), conds)
    return lowered.compile().cost_analysis()["flops"]

  assert flops(8, None) < 3 * flops(1, None)
  assert flops(8, 0) > 7 * flops(1, None)
