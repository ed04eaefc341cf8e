"""Bicubic resizing against Pillow's."""

import jax
import numpy as np
import pytest
from PIL import Image

from cinn_jax.images import bicubic


def _pillow(picture, shape):
  resized = Image.fromarray(picture).resize(
    shape[::-1], Image.Resampling.BICUBIC
  )
  return np.asarray(resized)


@pytest.fixture(scope="module")
def noise():
  """Returns grey levels and black and white: uint8 [2, 48, 64, 3]."""
  levels = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
  levels[1] = np.where(levels[1] < 128, 0, 255)
  return levels


@pytest.mark.parametrize(
  "shape", [(12, 16), (6, 8), (96, 128), (192, 64), (48, 20), (71, 37), (1, 1)]
)
def test_resize_equals_pillow(noise, shape):
  resized = jax.jit(bicubic.resize, static_argnums=1)(noise, shape)
  assert resized.dtype == np.uint8
  for ours, picture in zip(resized, noise, strict=True):
    np.testing.assert_array_equal(ours, _pillow(picture, shape))


def test_shrinking_then_growing_equals_pillow(noise):
  small = _pillow(noise[0], (12, 16))
  back = bicubic.resize(bicubic.resize(noise[:1], (12, 16)), (48, 64))
  np.testing.assert_array_equal(back[0], _pillow(small, (48, 64)))


def test_types_are_kept_and_the_same_size_changes_nothing(noise):
  floats = noise.astype(np.float32)
  small = bicubic.resize(floats, (12, 16))
  assert small.dtype == np.float32
  np.testing.assert_array_equal(small, bicubic.resize(noise, (12, 16)))
  np.testing.assert_array_equal(bicubic.resize(noise, (48, 64)), noise)


def test_jax_has_the_same_kernel_without_rounding(noise):
  # Away from black and white, where each of our passes is clipped.
  grey = (noise[:1] / 2 + 64).astype(np.uint8)
  theirs = jax.image.resize(
    grey.astype(np.float32), (1, 12, 16, 3), "cubic", antialias=True
  )
  ours = np.asarray(bicubic.resize(grey, (12, 16)), np.float32)
  assert 0.5 < np.abs(ours - np.asarray(theirs)).max() < 1.1
