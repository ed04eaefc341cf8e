"""Positions of crops, and their resizing."""

import numpy as np
import pytest
from PIL import Image

from cinn_jax.images import crops


def boxes(width, height, min_scale, count=4000):
  generator = np.random.default_rng(0)
  result = [
    crops.random_box(width, height, min_scale, generator) for _ in range(count)
  ]
  return np.array(result, float).T


@pytest.mark.parametrize("size", [(200, 200), (200, 150), (90, 160)])
@pytest.mark.parametrize("min_scale", [0.2, 0.9, 1.0])
def test_random_boxes_stay_in_their_ranges(size, min_scale):
  width, height = size
  left, top, right, bottom = boxes(width, height, min_scale)
  assert left.min() >= 0 and top.min() >= 0
  assert right.max() <= width and bottom.max() <= height
  aspect = (right - left) / (bottom - top)
  assert aspect.min() > 0.73 and aspect.max() < 1.37
  share = (right - left) * (bottom - top) / (width * height)
  assert share.max() <= 1 and share.min() > min_scale * 0.55


def test_area_and_position_are_uniform():
  left, top, right, bottom = boxes(300, 300, 0.2)
  share = (right - left) * (bottom - top) / 300**2
  small = share[share < 0.5]  # Every aspect ratio fits.
  assert small.min() == pytest.approx(0.2, abs=0.01)
  assert small.mean() == pytest.approx(0.35, abs=0.01)
  aspect = ((right - left) / (bottom - top))[share < 0.5]
  assert np.log(aspect).mean() == pytest.approx(0, abs=0.02)
  assert np.log(aspect).std() == pytest.approx(0.166, abs=0.01)
  for near, far in ((left, 300 - right), (top, 300 - bottom)):
    assert near.mean() == pytest.approx(far.mean(), rel=0.1)
    assert near.min() == far.min() == 0


def test_long_pictures_are_cut_to_their_middle():
  generator = np.random.default_rng(0)
  assert crops.random_box(1000, 30, 1.0, generator) == (480, 0, 520, 30)
  assert crops.random_box(30, 1000, 1.0, generator) == (0, 480, 30, 520)
  assert crops.random_box(1, 1, 1.0, generator) == (0, 0, 1, 1)
  assert crops.random_box(1, 500, 0.2, generator) == (0, 249, 1, 250)


def test_central_box():
  assert crops.central_box(30, 20) == (5, 0, 25, 20)
  assert crops.central_box(20, 31) == (0, 5.5, 20, 25.5)


def test_shrinking_averages_and_growing_interpolates():
  checks = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
  picture = np.stack([checks] * 3, -1)
  small = crops.resize(picture, (0, 0, 128, 128), 16)
  assert small.shape == (16, 16, 3) and small.dtype == np.uint8
  assert np.abs(small.astype(int) - 127.5).max() < 3
  tiny = np.array([[0, 255]], np.uint8)[..., None].repeat(3, -1)
  large = crops.resize(tiny, (0, 0, 2, 1), 32)
  assert len(np.unique(large[0, :, 0])) > 8


def test_resize_equals_pillow_on_the_cropped_part():
  picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
  picture = np.asarray(Image.fromarray(picture).resize((240, 180)))
  box = (20, 10, 180, 150)
  part = Image.fromarray(picture[10:150, 20:180])
  reference = np.asarray(part.resize((64, 64), Image.Resampling.BICUBIC))
  ours = crops.resize(picture, box, 64)
  # At the box's edge our filter also sees pixels outside it.
  inside = np.s_[3:-3, 3:-3]
  error = np.abs(ours[inside].astype(int) - reference[inside])
  assert error.max() <= 2


def test_boxes_with_another_aspect():
  assert crops.central_box(40, 20, 2.0) == (0, 0, 40, 20)
  assert crops.central_box(40, 40, 2.0) == (0, 10, 40, 30)
  assert crops.central_box(30, 40, 0.5) == (5, 0, 25, 40)
  generator = np.random.default_rng(0)
  wide = [crops.random_box(200, 150, 0.2, generator, 2.0) for _ in range(2000)]
  left, top, right, bottom = np.array(wide, float).T
  assert min(left.min(), top.min()) >= 0
  assert right.max() <= 200 and bottom.max() <= 150
  aspect = (right - left) / (bottom - top)
  assert 1.47 < aspect.min() < 1.6 and 2.5 < aspect.max() < 2.72


def test_resizing_to_a_height_and_a_width():
  ramp = np.broadcast_to(
    np.arange(64, dtype=np.uint8)[:, None, None], (64, 32, 3)
  )
  small = crops.resize(np.ascontiguousarray(ramp), (0, 0, 32, 64), (16, 8))
  assert small.shape == (16, 8, 3)
  np.testing.assert_allclose(small[:, 0, 0], np.arange(16) * 4 + 1.5, atol=1)
