"""Means of regions: a grid of rectangles that cover a map."""

import jax
import jax.numpy as jnp
import numpy as np


def region_means(maps: jax.Array, grid: int) -> jax.Array:
  """Averages grid x grid regions: [..., H, W, C] to [..., grid, grid, C].

  Regions differ by at most one pixel in height and width.

  Raises:
    ValueError: if a side has fewer pixels than there are regions.
  """
  rows, columns = (_weights(side, grid) for side in maps.shape[-3:-1])
  # In full precision: ranks of nearly equal means depend on it.
  return jnp.einsum(
    "gh,...hwc,kw->...gkc", rows, maps, columns, precision="highest"
  )


def coarser(means: np.ndarray, grid: int) -> np.ndarray:
  """Averages blocks of equal regions: [..., G, G, C] to [..., grid, grid, C].

  Raises:
    ValueError: if `grid` does not divide G.
  """
  size, channels = means.shape[-2:]
  if size % grid:
    raise ValueError(f"{size} regions a side do not make {grid}.")
  side = size // grid
  blocks = means.reshape(*means.shape[:-3], grid, side, grid, side, channels)
  return blocks.mean(axis=(-4, -2))


def _weights(side, grid):
  if side < grid:
    raise ValueError(
      f"{grid} regions a side need at least {grid} pixels, got {side}."
    )
  parts = np.array_split(np.arange(side), grid)
  weights = np.zeros((grid, side), np.float32)
  for weight, part in zip(weights, parts, strict=True):
    weight[part] = 1 / len(part)
  return weights
