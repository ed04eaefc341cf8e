"""Masks in conditions: entries "mask", which hide values next to them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array, Condition


def is_mask(path: tuple[Any, ...]) -> bool:
  """Tells whether the leaf of a condition at a path is a mask."""
  return bool(path) and getattr(path[-1], "key", None) == "mask"


def mask_of(cond: Condition, path: tuple[Any, ...], leaf: Array) -> Any:
  """Returns the mask next to a leaf [B, ..., C], bool [B, ..., 1], or None."""
  for other, mask in jax.tree.leaves_with_path(cond):
    if is_mask(other) and len(path) and other[:-1] == path[:-1]:
      shown = mask != 0
      if shown.shape == leaf.shape[:-1]:
        return shown[..., None]
  return None


def fill_hidden(cond: Condition) -> Condition:
  """Writes 0 over values that are hidden by a mask and are not finite.

  Whoever pads with NaN means values that do not count.
  """

  def fill(path, leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    mask = mask_of(cond, path, leaf)
    if mask is None:
      return leaf
    if isinstance(leaf, np.ndarray):  # JAX would round float64.
      return np.where(mask | np.isfinite(leaf), leaf, leaf.dtype.type(0))
    return jnp.where(mask | jnp.isfinite(leaf), leaf, 0)

  return jax.tree.map_with_path(fill, cond)
