"""Additions to the maps of a trained condition network: features, hints."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


def picture_of(cond: Condition) -> Condition:
  """Returns the picture of a condition, with or without other entries."""
  return cond["lightness"] if isinstance(cond, Mapping) else cond


def resize(maps: Array, side: int) -> Array:
  """Resizes to [B, side, side, C], by means of blocks or linearly."""
  b, height, width, c = maps.shape
  if height == width == side:
    return maps
  if height == width and height % side == 0:
    n = height // side
    return jnp.mean(maps.reshape(b, side, n, side, n, c), axis=(2, 4))
  return jax.image.resize(maps, (b, side, side, c), "linear")


def resize_hints(hints: Array, side: int) -> Array:
  """Resizes maps of hints to [B, side, side, 3].

  A coarser cell is known if any part of it is, and has the mean of the known
  colours. With plain means, a hint would nearly vanish in coarse maps.
  """
  maps = resize(hints, side)
  if side >= hints.shape[1]:
    return maps
  share = maps[..., 2:]
  is_known = share > 0
  return jnp.where(is_known, maps / jnp.where(is_known, share, 1), 0)


class Additions(nn.Module):
  """Adds features of a classifier, and hints, to a condition network's maps.

  Each map of the network gets a linear map of each layer-normalised feature
  map, at its resolution, and each vector one of their means. The first and
  finest map gets a 3x3 convolution of the hints. All of these start at 0, so
  the flow starts as the one without them.

  Attributes:
    features: Network from the picture to {rows: maps}; None if the condition
      brings features along, or has none.
    dtype: Precision of the computation; None follows the data.
  """

  features: nn.Module | None = None
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, cond: Condition, maps: PyTree) -> PyTree:
    """Returns `maps` with additions.

    Args:
      cond: A picture [B, H, W, C], or a dict of "lightness", such a picture;
        "hints" [B, s, s, 3]; and "features", {rows: maps}. The last two are
        optional.
      maps: A dict of maps [B, h, h, C] and vectors [B, C].
    """
    given = cond if isinstance(cond, Mapping) else {}
    features = given.get("features")
    if features is None and self.features is not None:
      features = self.features(picture_of(cond))
    added = dict(maps)
    for rows, values in (features or {}).items():
      normal = nn.LayerNorm(dtype=self.dtype, name=f"norm_{rows}")(values)
      for name, own in maps.items():
        part = normal if own.ndim == 4 else jnp.mean(normal, (1, 2))
        layer = nn.Dense(
          own.shape[-1],
          use_bias=False,
          kernel_init=nn.initializers.zeros,
          dtype=self.dtype,
          name=f"{name}_{rows}",
        )
        part = layer(part)
        if own.ndim == 4:
          part = resize(part, own.shape[1])
        added[name] = added[name] + part
    if "hints" in given:
      finest = max(maps, key=lambda name: maps[name].shape[1:-1])
      convolution = nn.Conv(
        maps[finest].shape[-1],
        (3, 3),
        kernel_init=nn.initializers.zeros,
        dtype=self.dtype,
        conv_general_dilated=conv_general_dilated,
        name="hints",
      )
      hints = convolution(resize_hints(given["hints"], maps[finest].shape[1]))
      added[finest] = added[finest] + hints
    return added
