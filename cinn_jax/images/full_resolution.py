"""Colorizes photographs at their own resolution and depth, tile by tile."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.images import bilateral, color
from cinn_jax.runtime import threads

_DEPTHS = (np.uint8, np.uint16)
# Photographs are reduced at widths that are multiples of this.
_WIDTH = 512


def colorize(
  photo: np.ndarray, ab: np.ndarray, *, tile: int = 256
) -> np.ndarray:
  """Gives a photograph new colours at its own resolution and depth.

  Each pixel keeps its lightness. A smaller ab is upsampled along the edges of
  the photograph. Colours outside the sRGB gamut are moved towards grey, see
  `color.lab_to_srgb`.

  Args:
    photo: uint8 or uint16 `[H, W, 3]`, sRGB.
    ab: `[n, h, w, 2]`, n colorizations in Lab units.
    tile: Largest side of a tile, in pixels. As many tiles are computed at once
      as there are cores, up to 8.

  Returns:
    `[n, H, W, 3]` of the photo's type.

  Raises:
    ValueError: for another shape or type, or if ab is not finite.
  """
  photo, ab = _check_photo(photo), np.asarray(ab, np.float32)
  if ab.ndim != 4 or ab.shape[-1] != 2:
    raise ValueError(f"expected ab of shape [n, h, w, 2], got {ab.shape}")
  if not np.all(np.isfinite(ab)):
    raise ValueError("ab is not finite: these colours cannot be shown")
  if photo.shape[:2] == ab.shape[1:3]:
    planes = ab.transpose(1, 0, 3, 2).reshape(len(photo), -1, ab.shape[2])
    result = _paint(_lightness(photo), planes, photo.dtype)
    return np.moveaxis(np.array(result), 1, 0)
  out = np.empty((len(ab), *photo.shape), photo.dtype)

  def fill(ys, xs, tile):
    result = np.asarray(_colorize_tile(tile))
    rows = result[: ys.stop - ys.start, :, : xs.stop - xs.start]
    out[:, ys, xs] = np.moveaxis(rows, 1, 0)

  # XLA computes a tile on one core, and releases Python's lock meanwhile.
  workers = min(os.cpu_count() or 1, 8)
  low_lightness = lightness_thumbnail(photo, ab.shape[1:3])
  tiles = bilateral.tiles(ab, low_lightness, photo, tile=tile)
  for _ in threads.in_order(lambda part: fill(*part), tiles, workers):
    pass
  return out


def lightness_thumbnail(
  photo: np.ndarray, shape: tuple[int, int], strip: int = 256
) -> np.ndarray:
  """Returns the L in [0, 100] of a photo, reduced to `shape`.

  The result is that of `jax.image.resize` on the L of the whole photo, with its
  anti-aliasing triangle filter, but it is computed in strips.

  Args:
    photo: uint8 or uint16 `[H, W, 3]`, sRGB.
    shape: (h, w) of the result.
    strip: Rows per strip.

  Returns:
    float32 `[h, w]`.
  """
  photo = _check_photo(photo)
  # All strips are full, and as wide as those of other photographs, so that this
  # compiles once for a class of sizes. Padding weighs nothing.
  right = (0, -photo.shape[1] % _WIDTH)
  vertical = _reduction(photo.shape[0], shape[0])
  horizontal = np.pad(_reduction(photo.shape[1], shape[1]), (right, (0, 0)))
  total = np.zeros(shape, np.float32)
  for start in range(0, len(photo), strip):
    below = (0, max(0, start + strip - len(photo)))
    rows = np.pad(photo[start : start + strip], (below, right, (0, 0)))
    weights = np.pad(vertical[start : start + strip], (below, (0, 0)))
    total += np.asarray(_reduce_strip(_lightness(rows), weights, horizontal))
  return total


@jax.jit
def _reduce_strip(lightness, vertical, horizontal):
  with jax.default_matmul_precision("highest"):
    return vertical.T @ (lightness @ horizontal)


def _reduction(size, cells):
  """Returns weights `[size, cells]` of a triangle filter; cells sum to one."""
  ratio = size / cells
  centres = (np.arange(cells) + 0.5) * ratio - 0.5
  distance = np.abs(np.arange(size)[:, None] - centres[None])
  weights = np.maximum(0, 1 - distance / max(1, ratio))
  return (weights / weights.sum(0, keepdims=True)).astype(np.float32)


# These are three programs, because fusion would repeat the lightness often.
def _colorize_tile(tile):
  """Converts pixels `[th, tw, 3]` to `[th, n, tw, 3]` of the same type."""
  lightness = _lightness(tile.guide)
  ab = bilateral.upsample_tile(tile, lightness, bilateral.SIGMA_LIGHTNESS)
  return _paint(lightness, ab, tile.guide.dtype)


@jax.jit
def _lightness(photo):
  highest = jnp.iinfo(photo.dtype).max
  return color.srgb_to_lightness(photo.astype(jnp.float32) / highest)


@functools.partial(jax.jit, static_argnames="dtype")
def _paint(lightness, ab, dtype):
  """Converts L `[th, tw]` and ab `[th, n 2, tw]` to `[th, n, tw, 3]`."""
  ab = ab.reshape(len(ab), -1, 2, ab.shape[-1])
  lightness = jnp.broadcast_to(lightness[:, None], ab[:, :, 0].shape)
  rgb = color.lab_planes_to_srgb(lightness, ab[:, :, 0], ab[:, :, 1])
  highest = jnp.iinfo(dtype).max
  rgb = [jnp.round(plane * highest).astype(dtype) for plane in rgb]
  return jnp.stack(rgb, axis=-1)


def _check_photo(photo):
  photo = np.asarray(photo)
  if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype not in _DEPTHS:
    raise ValueError(
      "expected a photo of shape [H, W, 3], uint8 or uint16, got "
      f"{photo.dtype} {photo.shape}: convert it to RGB first"
    )
  return photo
