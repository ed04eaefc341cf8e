"""Hints of colours, and the noise of a pyramid, in the task of colorization."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.tasks import hints
from cinn_jax.tasks.colorize import colorize
from tests.support.drawing import normal


@functools.cache
def _drawn(share=1.0, count=600, side=32):
  colors = jnp.asarray(normal(0, (count, side, side, 2), np.float32))
  draw = jax.jit(hints.draw, static_argnums=2)
  return np.asarray(colors), np.asarray(draw(jax.random.key(1), colors, share))


def test_maps_hold_known_colors_and_zeros():
  colors, maps = _drawn()
  known = maps[..., 2]
  assert set(np.unique(known)) == {0.0, 1.0}
  assert (known.sum((1, 2)) > 0).all()
  np.testing.assert_array_equal(maps[known == 0], 0)
  # A hint of one cell away from others has the color of the cell.
  alone = known.copy()
  for axis in (1, 2):
    for shift in (-1, 1):
      alone *= 1 - np.roll(known, shift, axis)
  cells = alone > 0
  assert cells.sum() > 100
  np.testing.assert_allclose(maps[cells][:, :2], colors[cells], rtol=1e-5)


def test_larger_hints_have_the_mean_of_their_square():
  colors = normal(2, (200, 32, 32, 2), np.float32)
  one_each = jnp.ones(200, jnp.int32)
  maps = np.asarray(jax.jit(hints.place)(jax.random.key(2), colors, one_each))
  known = maps[..., 2:]
  cells = known.sum((1, 2))
  assert set(cells[:, 0]) == {1.0, 4.0, 9.0}
  means = (colors * known).sum((1, 2)) / cells
  expected = means[:, None, None] * known
  np.testing.assert_allclose(maps[..., :2], expected, atol=1e-5)


def test_share_and_number_of_hints():
  _, maps = _drawn(share=0.75)
  cells = maps[..., 2].sum((1, 2))
  assert 0.69 < (cells > 0).mean() < 0.81
  # A square has 14/3 cells in the mean; some overlap.
  assert 18 < np.median(cells[cells > 0]) < 40
  assert not _drawn(share=0.0, count=3)[1].any()
  assert np.abs(_drawn()[1][..., 2].mean(0) - 0.05).max() < 0.12


def _task(**options):
  return colorize(image_size=32, ab_size=32, **options)


def _batch():
  pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
  return {"image": pixels.astype(np.uint8)}


def test_hints_are_a_part_of_the_condition():
  task = _task(hints=8, hint_share=1.0)
  assert task.cond_shape == {"lightness": (32, 32, 1), "hints": (8, 8, 3)}
  x, cond = jax.jit(task.prepare)(_batch())
  assert not cond["hints"].any()
  noisy, cond = jax.jit(task.add_noise)(jax.random.key(0), x, cond)
  known = cond["hints"][..., 2] == 1
  means = np.asarray(x).reshape(4, 8, 4, 8, 4, 2).mean((2, 4))
  # Squares of one cell of 8; the colors are those without noise.
  np.testing.assert_allclose(
    np.asarray(cond["hints"])[known][:, :2], means[known], atol=1e-5
  )
  assert np.std(noisy - x) == pytest.approx(0.05, rel=0.1)
  for shown in (
    jax.eval_shape(task.render, x, cond),
    jax.eval_shape(task.condition_picture, cond),
  ):
    assert shown.shape == (4, 32, 32, 3)


def test_noise_of_details_is_independent_by_level():
  task = _task(noise_scale=0.2, detail_noise=(0.1, 0.3))
  x, cond = jnp.zeros((500, 32, 32, 2)), jnp.zeros((500, 32, 32, 1))
  noisy, _ = jax.jit(task.add_noise)(jax.random.key(0), x, cond)
  noise = np.asarray(noisy)

  def halve(maps):
    b, side = maps.shape[:2]
    blocks = maps.reshape(b, side // 2, 2, side // 2, 2, 2)
    horizontal = blocks[:, :, :, :, 0] - blocks[:, :, :, :, 1]
    # Half the difference is the band of the orthonormal transform.
    return blocks.mean((2, 4)), horizontal.sum(2) / 2

  at_16, details_32 = halve(noise)
  at_8, details_16 = halve(at_16)
  for maps, sd in ((details_32, 0.3), (details_16, 0.1), (at_8, 0.2)):
    assert np.std(maps) == pytest.approx(sd, rel=0.01)
  correlation = np.corrcoef(at_16.reshape(-1), details_32.reshape(-1))[0, 1]
  assert abs(correlation) < 0.01
  assert "details 0.1 at 16x16, 0.3 at 32x32" in task.description


@pytest.mark.parametrize(
  "options, message",
  [
    ({"hints": 5}, "must divide ab_size"),
    ({"hints": 8, "hint_share": 2.0}, "from 0 to 1, got 2"),
    ({"noise": "uniform", "detail_noise": (0.1,)}, "takes noise='gaussian'"),
    ({"detail_noise": (0.1,) * 6}, "a multiple of 64, got 32"),
  ],
)
def test_settings_that_do_not_fit_raise(options, message):
  with pytest.raises(ValueError, match=message):
    _task(**options)
