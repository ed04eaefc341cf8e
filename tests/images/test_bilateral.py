"""Joint bilateral upsampling without blocks, bleeding or seams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.data
import sklearn.datasets

from cinn_jax.images import bilateral, color

to_lab = jax.jit(color.srgb_to_lab)


def scene(cells, pixels, n=2, channels=2, seed=0):
  """Draws random (low, low_lightness, lightness)."""
  rng = np.random.default_rng(seed)
  low = rng.normal(0, 20, (n, *cells, channels)).astype(np.float32)
  low_lightness = rng.uniform(0, 100, cells).astype(np.float32)
  return low, low_lightness, rng.uniform(0, 100, pixels).astype(np.float32)


def bilinear(low, pixels):
  shape = (len(low), *pixels, low.shape[-1])
  return np.asarray(jax.image.resize(low, shape, "linear"))


@pytest.mark.parametrize("name", ["astronaut", "flower"])
@pytest.mark.parametrize("ratio", [4, 16])
def test_beats_bilinear_on_photographs(name, ratio):
  if name == "flower":
    photo = sklearn.datasets.load_sample_image("flower.jpg")[:416, :640]
  else:
    photo = skimage.data.astronaut()
  lab = to_lab(color.from_uint8(photo))
  small = (photo.shape[0] // ratio, photo.shape[1] // ratio)
  low = jax.image.resize(lab[None, ..., 1:], (1, *small, 2), "linear")
  guide = jax.image.resize(lab[..., 0], small, "linear")
  joint = bilateral.upsample(low, guide, lab[..., 0])[0]
  plain = bilinear(low, photo.shape[:2])[0]
  joint, plain = (np.mean((lab[..., 1:] - x) ** 2) for x in (joint, plain))
  # Measured ratios of the RMSE: 0.90 to 0.92.
  assert np.sqrt(joint / plain) < 0.94


@pytest.mark.parametrize("shape", [(480, 640), (431, 617)])
def test_a_ramp_without_edges_stays_a_ramp(shape):
  # At x80, a look-up without interpolation gives steps of 10, 80 pixels apart.
  cells = (6, 8)
  low = 10.0 * np.arange(8)[None, None, :, None] + np.zeros((1, *cells, 1))
  low = (low - 7.0 * np.arange(6)[None, :, None, None]).astype(np.float32)
  flat = np.full(shape, 60, np.float32)
  full = bilateral.upsample(low, np.full(cells, 60, np.float32), flat)[
    0, ..., 0
  ]
  y, x = (
    (np.arange(size) + 0.5) * count / size - 0.5
    for size, count in zip(shape, cells, strict=True)
  )
  inner = np.ix_((y > 1) & (y < 4), (x > 1) & (x < 6))
  ramp = 10.0 * x[None] - 7.0 * y[:, None]
  np.testing.assert_allclose(full[inner], ramp[inner], atol=1e-3)
  # Towards the borders it flattens smoothly. With bilinear interpolation, the
  # whole slope of 0.125 per pixel ends at once.
  for axis in (0, 1):
    assert np.max(np.abs(np.diff(full, 2, axis=axis))) < 0.08


# 2 cells are wide for a radius of 2: only the fading ends the kernel.
@pytest.mark.parametrize("sigma_cells", [bilateral.SIGMA_CELLS, 2])
def test_cells_do_not_show_as_blocks(sigma_cells):
  low, low_lightness, _ = scene((6, 8), (480, 640), n=1)
  guide = np.full((480, 640), 50, np.float32)
  full = bilateral.upsample(low, low_lightness, guide, sigma_cells=sigma_cells)
  for axis in (1, 2):
    # Neighbouring cells differ by up to 80; a block would show all of it.
    assert np.max(np.abs(np.diff(full, axis=axis))) < 5
    assert np.max(np.abs(np.diff(full, 2, axis=axis))) < 2.5


def test_colour_stops_at_an_edge_of_lightness():
  # The edge lies inside a cell, which mixes both colours and lightnesses.
  width, cells = 320, (6, 8)
  right = np.broadcast_to(np.arange(width) >= 140, (240, width))
  lightness = np.where(right, 80, 30).astype(np.float32)
  truth = np.where(right, 50, -50).astype(np.float32)
  low = jax.image.resize(truth, cells, "linear")[None, ..., None]
  guide = jax.image.resize(lightness, cells, "linear")
  joint = bilateral.upsample(low, guide, lightness)[0, ..., 0]
  plain = bilinear(low, truth.shape)[0, ..., 0]
  joint, plain = (np.abs(np.asarray(x) - truth) for x in (joint, plain))
  assert np.max(plain) > 40
  assert np.max(joint) < 10
  assert np.mean(joint) < 0.1 * np.mean(plain)


def test_bilinear_without_similar_cells():
  low, _, _ = scene((5, 7), (60, 91))
  black, white = np.zeros((5, 7), np.float32), np.full((60, 91), 100.0)
  full = bilateral.upsample(low, black, jnp.asarray(white, jnp.float32))
  np.testing.assert_allclose(full, bilinear(low, (60, 91)), atol=1e-3)


@pytest.mark.parametrize(
  "cells, pixels",
  [
    ((7, 5), (7, 5)),
    ((1, 1), (9, 30)),
    ((3, 2), (300, 200)),
    ((9, 4), (20, 7)),
  ],
)
def test_any_ratio_gives_means_of_the_cells(cells, pixels):
  low, low_lightness, lightness = scene(cells, pixels)
  full = np.asarray(bilateral.upsample(low, low_lightness, lightness))
  assert full.shape == (2, *pixels, 2) and full.dtype == np.float32
  lowest, highest = (
    f(low, axis=(1, 2), keepdims=True) for f in (np.min, np.max)
  )
  assert np.all((full > lowest - 1e-3) & (full < highest + 1e-3))
  # Cells outside have no weight: a constant stays constant, even in corners.
  level = bilateral.upsample(np.full_like(low, 7), low_lightness, lightness)
  np.testing.assert_allclose(level, 7, atol=1e-5)


def kernels(position, cells, sigma, radius):
  """Returns (k, hat) of all cells of an axis, as the module describes them."""
  d = np.arange(cells) - position
  k = (
    np.exp(-0.5 * (d / sigma) ** 2) * np.clip(1 - (d / radius) ** 2, 0, 1) ** 2
  )
  tilt = np.clip(-np.sum(k * d) / np.sum(k * d * d), -1 / radius, 1 / radius)
  return k * (1 + tilt * d), np.clip(1 - np.abs(d), 0, 1)


def test_weights_follow_the_formula():
  low, low_lightness, lightness = scene((6, 5), (23, 31), n=1)
  options = {"sigma_cells": 0.8, "sigma_lightness": 20.0, "radius": 2}
  full = bilateral.upsample(low, low_lightness, lightness, **options)[0]
  for y, x in [(0, 0), (0, 16), (9, 30), (22, 0), (11, 14), (3, 2)]:
    ky, hat_y = kernels((y + 0.5) * 6 / 23 - 0.5, 6, 0.8, 2)
    kx, hat_x = kernels((x + 0.5) * 5 / 31 - 0.5, 5, 0.8, 2)
    alike = np.exp(-((lightness[y, x] - low_lightness) ** 2) / (2 * 20.0**2))
    weight = np.outer(ky, kx) * alike
    weight += bilateral.FLOOR * np.outer(hat_y, hat_x)
    mean = np.sum(weight[..., None] * low[0], axis=(0, 1)) / np.sum(weight)
    np.testing.assert_allclose(full[y, x], mean, atol=1e-3)


@pytest.mark.parametrize("tile", [37, 64, 256])
def test_tiles_equal_the_whole_bit_for_bit(tile):
  low, low_lightness, lightness = scene((5, 9), (203, 390), n=3)
  whole = np.asarray(bilateral.upsample(low, low_lightness, lightness))
  got = np.full_like(whole, np.nan)
  compiled = bilateral.upsample_tile._cache_size()
  for y, x, part in bilateral.tiles(low, low_lightness, lightness, tile=tile):
    height, width = y.stop - y.start, x.stop - x.start
    assert max(part.guide.shape) <= tile
    values = bilateral.upsample_tile(
      part, part.guide, bilateral.SIGMA_LIGHTNESS
    )
    values = values.reshape(len(part.guide), 3, 2, -1).transpose(1, 0, 3, 2)
    got[:, y, x] = values[:, :height, :width]
  np.testing.assert_array_equal(got, whole)
  assert bilateral.upsample_tile._cache_size() <= compiled + 1


def test_works_inside_jit_vmap_and_grad():
  scenes = [scene((4, 5), (16, 25), seed=seed) for seed in range(3)]
  batch = [np.stack(x) for x in zip(*scenes, strict=True)]
  mapped = jax.jit(jax.vmap(bilateral.upsample))(*batch)
  alone = [bilateral.upsample(*x) for x in scenes]
  np.testing.assert_allclose(mapped, alone, atol=1e-4)

  def total(*arrays):
    return jnp.sum(bilateral.upsample(*arrays) ** 2)

  for gradient in jax.jit(jax.grad(total, (0, 1, 2)))(*scenes[0]):
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


def test_bad_input_raises():
  low, low_lightness, lightness = scene((4, 5), (16, 25))
  with pytest.raises(ValueError, match=r"low_lightness \[h, w\], got"):
    bilateral.upsample(low, low_lightness.T, lightness)
  with pytest.raises(ValueError, match=r"lightness of shape \[H, W\], got"):
    bilateral.upsample(low, low_lightness, lightness[..., None])
  with pytest.raises(ValueError, match="have to be positive"):
    bilateral.upsample(low, low_lightness, lightness, sigma_lightness=0)
  with pytest.raises(ValueError, match="whole number of cells"):
    bilateral.upsample(low, low_lightness, lightness, radius=1.5)
