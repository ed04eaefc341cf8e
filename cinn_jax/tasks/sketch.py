"""Sketches to photographs: RGB given a drawing of the edges."""

import jax.numpy as jnp

from cinn_jax.bijections.base import Array
from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks import rgb
from cinn_jax.tasks.base import Task

# The gradient, in luma levels per pixel, from which an edge is black.
_STRENGTH = 40.0


def sketch(
  *,
  image_size: int | tuple[int, int],
  condition_channels: int = 1,
  condition_noise: str = "half",
) -> Task:
  """Builds the task of making a picture from a sketch of it.

  x holds RGB in [0, 1), [B, H, W, 3], and cond the sketch in [0, 1], dark on
  white, [B, H, W, condition_channels]. A batch may come with its sketches:
  "condition", uint8 [B, H, W, 3] (source "paired"). Otherwise `draw` draws the
  edges of the pictures.

  Args:
    image_size: S or (H, W).
    condition_channels: 1 for the luma of the sketch, or 3 for its RGB, as in
      CAFLOW.
    condition_noise: "half" or "uniform", see `rgb.rgb_task`.

  Raises:
    ValueError: for another number of channels, or another noise.
  """
  if condition_channels not in (1, 3):
    raise ValueError(
      f"condition_channels must be 1 or 3, got {condition_channels}."
    )
  height, width = height_and_width(image_size)

  def condition(batch):
    if "condition" not in batch:
      return jnp.repeat(draw(batch["image"]), condition_channels, axis=-1)
    given = batch["condition"]
    return given if condition_channels == 3 else rgb.luma(given)

  def shown(levels):
    return levels if condition_channels == 3 else jnp.repeat(levels, 3, axis=-1)

  return rgb.rgb_task(
    image_size=image_size,
    cond_shape=(height, width, condition_channels),
    condition=condition,
    condition_noise=condition_noise,
    condition_picture=shown,
    given="a sketch of it",
    condition_name="sketch",
    reference=lambda cond: shown(rgb.levels_of(cond)),
  )


def draw(image: Array) -> Array:
  """Draws the edges of pictures: uint8 [B, H, W, 3] to uint8 [B, H, W, 1].

  Edges are where the gradient of the luma (Sobel's filters) is largest across
  the edge, as in Canny 1986. Lines are on white, and the steeper the darker.
  """
  levels = rgb.luma(image).astype(jnp.float32)[..., 0]
  levels = _filtered(levels, (1, 2, 1), (1, 2, 1)) / 16
  down = _filtered(levels, (-1, 0, 1), (1, 2, 1)) / 8
  right = _filtered(levels, (1, 2, 1), (-1, 0, 1)) / 8
  size = jnp.sqrt(down**2 + right**2)
  thin = jnp.where(size >= _across(size, down, right), size, 0)
  darkness = jnp.minimum(thin / _STRENGTH, 1)
  return jnp.round(255 * (1 - darkness)).astype(jnp.uint8)[..., None]


def _filtered(levels, down, right):
  """Correlates [B, H, W] with the outer product of two rows of weights."""
  height, width = levels.shape[1:]
  padded = jnp.pad(levels, ((0, 0), (1, 1), (1, 1)), mode="edge")
  return sum(
    a * b * padded[:, i : i + height, j : j + width]
    for i, a in enumerate(down)
    for j, b in enumerate(right)
    if a * b
  )


def _across(size, down, right):
  """Returns the larger of each pixel's two neighbours along the gradient."""
  height, width = size.shape[1:]
  padded = jnp.pad(size, ((0, 0), (1, 1), (1, 1)))

  def larger(i, j):
    def moved(i, j):
      return padded[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width]

    return jnp.maximum(moved(i, j), moved(-i, -j))

  # Takes the nearest of four directions; 0.414 is tan(22.5 degrees).
  steep = jnp.abs(right) <= jnp.abs(down) * 0.41421357
  flat = jnp.abs(down) <= jnp.abs(right) * 0.41421357
  diagonal = jnp.where(down * right > 0, larger(1, 1), larger(1, -1))
  return jnp.where(steep, larger(1, 0), jnp.where(flat, larger(0, 1), diagonal))
