"""Samples of a pyramid have the colours of hints, and keep to the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.flow import make_flow
from cinn_jax.models.wavelet_flow import wavelet_flow
from cinn_jax.sampling import known_colors, numbered
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL


def _hints(side, row, column, color):
  hints = np.zeros((side, side, 3), np.float32)
  hints[row, column] = (*color, 1)
  return hints


def test_what_varies_together_moves_together():
  members = normal(0, (5000, 4, 4, 2), np.float32)
  # Cell (0, 1) does as cell (0, 0), and a and b are independent.
  members[:, 0, 1] = 0.5 * members[:, 0, 0]
  x = normal(1, (3, 4, 4, 2), np.float32)
  moved = known_colors.shift(x, members, _hints(4, 0, 0, (2.0, -1.0)))
  change = np.asarray(moved) - x
  np.testing.assert_allclose(
    np.asarray(moved)[:, 0, 0], [[2.0, -1.0]] * 3, atol=0.02
  )
  faded = np.exp(-1 / (2 * known_colors.REACH**2))
  np.testing.assert_allclose(
    change[:, 0, 1], 0.5 * faded * change[:, 0, 0], rtol=0.05, atol=0.02
  )
  np.testing.assert_allclose(change[:, 1:], 0, atol=0.15)
  still = known_colors.shift(x, members, np.zeros((4, 4, 3), np.float32))
  np.testing.assert_array_equal(still, x)


@pytest.fixture(scope="module")
def pyramid():
  cond = {
    "lightness": normal(1, (1, 16, 16, 1), np.float32),
    "hints": np.zeros((1, 8, 8, 3), np.float32),
  }
  shapes = {"lightness": (16, 16, 1), "hints": (8, 8, 3)}
  flow = make_flow(wavelet_flow(**SMALL), (8, 8, 2), shapes)
  x = normal(2, (1, 8, 8, 2), np.float32)
  return flow, draw_variables(flow.module, 3, x, cond, 0.1), cond


@pytest.fixture(scope="module")
def to_hints(pyramid):
  return known_colors.make_draw_to_hints(pyramid[0])


def test_samples_meet_a_hint(pyramid, to_hints):
  flow, variables, cond = pyramid
  numbers, key = jnp.arange(4, dtype=jnp.uint32), jax.random.key(0)
  plain, _ = numbered.make_draw(flow)(variables, cond, key, numbers, 1.0)
  known = np.zeros((8, 8, 3), np.float32)
  known[2:4, 4:6] = (1.5, -1.0, 1.0)
  hinted = {**cond, "hints": known[None]}
  draw = to_hints(variables, hinted)
  x, log_prob = draw(key, numbers, 1.0)

  def base(x):
    return np.asarray(x).reshape(-1, 4, 2, 4, 2, 2).mean((2, 4))

  np.testing.assert_allclose(base(x)[:, 1, 2], [[1.5, -1.0]] * 4, atol=0.05)
  # The others differ from each other as before.
  assert np.abs(base(x)[0] - base(x)[1]).max() > 0.3
  assert np.abs(base(plain)[:, 1, 2] - base(x)[:, 1, 2]).max() > 0.3
  # Densities are those of the flow.
  whole = jax.tree.map(lambda leaf: jnp.repeat(leaf, 4, 0), hinted)
  np.testing.assert_allclose(
    log_prob, flow.log_prob(variables, x, whole).total, rtol=1e-4
  )
  # A sample depends on its number alone.
  others, _ = draw(key, jnp.array([2, 3, 7, 9], jnp.uint32), 1.0)
  np.testing.assert_allclose(others[:2], x[2:], atol=1e-5)


def test_the_covariance_is_that_of_each_seed(pyramid, to_hints):
  _, variables, cond = pyramid
  hinted = {**cond, "hints": _hints(8, 2, 4, (1.5, -1.0))[None]}
  numbers, keys = jnp.arange(4, dtype=jnp.uint32), map(jax.random.key, (0, 1))
  draw = to_hints(variables, hinted)
  several = [draw(key, numbers, 1.0)[0] for key in keys]
  alone, _ = to_hints(variables, hinted)(jax.random.key(1), numbers, 1.0)
  np.testing.assert_array_equal(several[1], alone)
  assert np.abs(several[0] - several[1]).max() > 0.1


def test_a_level_of_details_has_no_base_to_move(pyramid):
  flow, _, _ = pyramid
  assert known_colors.can_meet(flow)
  details = wavelet_flow(**SMALL, level=8)
  assert not known_colors.can_meet(flow._replace(module=details))
