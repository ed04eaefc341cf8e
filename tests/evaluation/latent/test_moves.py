"""Walks, mixtures and transfers of latents, on a flow of two levels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.evaluation.latent import moves
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables

BATCH, CLASSES = 3, 4
DENSE = functools.partial(Subnet, widths=(6,), kernels=(1, 1))
LABELS = np.eye(CLASSES, dtype=np.float32)


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def model():
  """Returns (flow, random variables, x, cond)."""
  coupling = bj.AffineCoupling(DENSE)
  module = bj.MultiScale((coupling, bj.AffineCoupling(DENSE)), (bj.Split(3),))
  x, cond = _normal(0, BATCH, 6), LABELS[:BATCH]
  return make_flow(module, (6,)), draw_variables(module, 1, x, cond), x, cond


def _close(actual, expected, atol=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=atol),
    actual,
    expected,
  )


def test_decode_agrees_with_inverse(model):
  flow, variables, _, cond = model
  z = _normal(2, 5, BATCH, 3), _normal(3, 5, BATCH, 3)
  x = moves.decode(flow, variables, z, cond)
  assert x.shape == (BATCH, 5, 6)
  alone, _ = flow.inverse(variables, (z[0][4], z[1][4]), cond)
  _close(x[:, 4], alone)


def test_one_latent_under_every_condition(model):
  flow, variables, x, cond = model
  z, _ = flow.forward(variables, x, cond)
  decoded = moves.across_conditions(flow, variables, z, LABELS)
  assert decoded.shape == (BATCH, CLASSES, 6)
  under_2 = np.repeat(LABELS[2:3], BATCH, 0)
  _close(decoded[:, 2], flow.inverse(variables, z, under_2)[0])
  assert np.abs(decoded[:, 2] - decoded[:, 3]).max() > 1e-2


def test_style_transfer_keeps_x_under_its_condition(model):
  flow, variables, x, cond = model
  decoded = moves.transfer_style(flow, variables, x, cond, LABELS)
  own = decoded[np.arange(BATCH), np.argmax(cond, 1)]
  _close(own, x)
  assert np.abs(decoded[:, 3] - x).min(1).max() > 1e-3


def test_scale_and_interpolate():
  start, end = (_normal(0, 2, 3), _normal(1, 2, 4)), (jnp.ones((2, 3)), 0.0)
  end = (end[0], jnp.zeros((2, 4)))
  path = moves.interpolate(start, end, 5)
  assert [leaf.shape for leaf in path] == [(5, 2, 3), (5, 2, 4)]
  _close((path[0][0], path[1][0]), start)
  _close((path[0][-1], path[1][-1]), end)
  _close(path[0][1], 0.75 * start[0] + 0.25)
  variants = moves.scale(start, [0.0, 2.0])
  _close(variants[1], np.stack([0 * start[1], 2 * start[1]]))


def test_grid_is_symmetric_and_denser_at_zero():
  first, second = _normal(0, 1, 4), _normal(1, 1, 4)
  plane = moves.grid(first, second, points=5, reach=0.8, power=2.0)
  assert plane.shape == (25, 1, 4)
  _close(plane[12], np.zeros((1, 4)))
  _close(plane[0], -plane[24])
  _close(plane[24], 0.8 * (first + second))
  _close(plane[22], 0.8 * first)  # The last row, its middle column.
  _close(plane[13], 0.2 * second)  # Half the way, squared.


def test_resample_changes_one_level():
  z = _normal(0, 2, 3), _normal(1, 2, 4)
  draws = _normal(2, 6, 2, 3), _normal(3, 6, 2, 4)
  fine, coarse = moves.resample(z, draws, 1)
  _close(fine, np.broadcast_to(z[0], (6, 2, 3)))
  _close(coarse, draws[1])
  with pytest.raises(ValueError, match="level is 2, but these latents have 2"):
    moves.resample(z, draws, 2)


def test_mix_keeps_the_variance():
  z = _normal(0, 20_000, 1), _normal(1, 20_000, 1)
  other = _normal(2, 20_000, 1), _normal(3, 20_000, 1)
  fine, coarse = moves.mix(z, other, (0.7, 0.0))
  assert abs(np.std(fine) - 1) < 0.02
  assert abs(np.mean(fine * other[0]) - np.sqrt(0.7)) < 0.02
  _close(coarse, z[1])
  _close(moves.mix(z, other, (1, 1)), other)
  for shares in ((0.5,), (0.5, 1.5)):
    with pytest.raises(ValueError, match=r"2 numbers in \[0, 1\]"):
      moves.mix(z, other, shares)


def test_principal_axes_of_a_known_covariance():
  weights = np.zeros((7, 7), np.float32)
  weights[0, 4], weights[1, 0] = 3.0, 2.0  # Along entries 4 and 0.
  flat = 5 + _normal(0, 4_000, 7) @ weights + 0.1 * _normal(1, 4_000, 7)
  z = flat[:, :4].reshape(-1, 2, 2), flat[:, 4:]
  axes = moves.principal_axes(z, 2)
  assert axes.directions[0].shape == (2, 2, 2)
  _close(np.abs(axes.directions[1][0]), [3, 0, 0], atol=0.1)
  _close(np.abs(axes.directions[0][1]), [[2, 0], [0, 0]], atol=0.1)
  _close(axes.variance_ratio, [9 / 13, 4 / 13], atol=0.02)
  walk = axes.walk({0: 0.5, 1: -1.0}, [-8, 0, 8])
  assert walk[0].shape == (3, 1, 2, 2)
  _close((walk[0][1], walk[1][1]), axes.mean)
  step = 8 * (0.5 * axes.directions[1][0] - axes.directions[1][1])
  _close(walk[1][2, 0], axes.mean[1][0] + step)
  with pytest.raises(ValueError, match="need more than 9 latents, got 5"):
    moves.principal_axes(_normal(0, 5, 12), 9)
