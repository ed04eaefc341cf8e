"""Means of regions, and names of colours."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from cinn_jax.images import color_names
from cinn_jax.images.regions import coarser, region_means


def test_means_of_regions_of_any_size():
  maps = np.random.default_rng(0).normal(size=(3, 13, 9, 2)).astype(np.float32)
  means = np.asarray(region_means(maps, 4))
  assert means.shape == (3, 4, 4, 2)
  rows = np.array_split(np.arange(13), 4)
  columns = np.array_split(np.arange(9), 4)
  for i, j in ((0, 0), (3, 1), (2, 3)):
    expected = maps[:, rows[i]][:, :, columns[j]].mean(axis=(1, 2))
    np.testing.assert_allclose(means[:, i, j], expected, atol=1e-6)


def test_coarser_regions_are_averages():
  maps = np.random.default_rng(0).normal(size=(2, 16, 16, 1))
  fine = np.asarray(region_means(maps, 8))
  np.testing.assert_allclose(
    coarser(fine, 2), np.asarray(region_means(maps, 2)), atol=1e-6
  )
  with pytest.raises(ValueError, match="do not make 3"):
    coarser(fine, 3)


def test_too_few_pixels_are_refused():
  with pytest.raises(ValueError, match="need at least 8 pixels, got 4"):
    region_means(np.zeros((4, 8, 1)), 8)


@pytest.mark.parametrize(
  "rgb, name",
  [
    ((128, 128, 128), "grey"),
    ((255, 0, 0), "red-brown"),
    ((139, 69, 19), "red-brown"),
    ((255, 215, 0), "yellow"),
    ((34, 139, 34), "green"),
    ((46, 139, 87), "sea green"),
    ((0, 128, 128), "cyan"),
    ((135, 206, 235), "light blue"),
    ((0, 0, 255), "blue"),
    ((128, 0, 128), "purple"),
    ((255, 105, 180), "pink"),
  ],
)
def test_names_of_colours(rgb, name):
  ab = rgb2lab(np.array(rgb)[None, None] / 255)[0, 0, 1:]
  assert color_names.NAMES[color_names.indices(ab)] == name


def test_every_hue_has_a_name():
  hue = np.radians(np.arange(0.25, 360, 0.5))
  ab = 20 * np.stack([np.cos(hue), np.sin(hue)], axis=-1)
  counts = np.bincount(color_names.indices(ab), minlength=10)
  assert counts.tolist() == [0, *[80] * 9]
  assert color_names.indices(np.array([7.9, 0.0])) == 0
