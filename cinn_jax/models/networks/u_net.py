"""The two halves of a U-Net: maps to a picture, and a picture to a code."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, PyTree, at_least_float32
from cinn_jax.models.networks.normalization import Norm
from cinn_jax.models.networks.subnets import Initializer
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

# Sides of the map, at most, that becomes a vector.
_POOLED = 4


class ResidualBlock(nn.Module):
  """Two normalised 3x3 convolutions, added to their input.

  Attributes:
    dtype: Precision of the computation; None follows the data.
  """

  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, h, w, C] to the same shape."""
    hidden = x
    for _ in range(2):
      hidden = nn.relu(Norm("group")(hidden))
      hidden = conv(x.shape[-1], dtype=self.dtype)(hidden)
    return x + hidden


class TopDown(nn.Module):
  """The half of a U-Net that goes up, from coarse maps to a picture.

  Attributes:
    widths: Number of channels at each resolution, finest first. Resolution k
      has 1 / 2^k of the picture's sides.
    channels: Number of channels of the result.
    blocks: Number of `ResidualBlock` at each resolution.
    dtype: Precision of the computation; None follows the data.
  """

  widths: Sequence[int]
  channels: int
  blocks: int = 1
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, inputs: PyTree, size: Sequence[int]) -> Array:
    """Maps features to [B, H, W, channels].

    Args:
      inputs: Maps [B, h, w, C], each at one of the resolutions, and vectors
        [B, C], which are the same for every position. Without a map at the
        coarsest resolution, vectors fill it, which fixes the size.
      size: (H, W), multiples of 2 to the number of resolutions less one.

    Raises:
      ValueError: for a map at no resolution.
    """
    maps, vector = sort_inputs(inputs, size, len(self.widths))
    hidden: Any = None
    for k in reversed(range(len(self.widths))):
      width, parts = self.widths[k], maps[k]
      if hidden is not None:
        parts = [double(hidden), *parts]
      bias = None
      if vector is not None:
        if not parts:
          sides = [side >> k for side in size]
          first = nn.Dense(sides[0] * sides[1] * width, dtype=self.dtype)
          parts = [first(vector).reshape(-1, *sides, width)]
        bias = nn.Dense(width, dtype=self.dtype)(vector)[:, None, None]
      hidden = conv(width, dtype=self.dtype)(jnp.concatenate(parts, -1))
      if bias is not None:
        hidden += bias
      for _ in range(self.blocks):
        hidden = ResidualBlock(self.dtype)(hidden)
    hidden = nn.relu(Norm("group")(hidden))
    picture = conv(self.channels, dtype=self.dtype)(hidden)
    return picture.astype(at_least_float32(picture.dtype))


class BottomUp(nn.Module):
  """The half of a U-Net that goes down, from a picture to a Gaussian code.

  Attributes:
    widths, blocks, dtype: As of `TopDown`.
    code_channels: Number of channels of the code's maps at each resolution.
    code: Length of its vector, or 0.
  """

  widths: Sequence[int]
  code_channels: Sequence[int]
  code: int
  blocks: int = 1
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(
    self, x: Array, inputs: PyTree
  ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Returns mean and logarithm of the deviation of each part of the code.

    Args:
      x: The picture [B, H, W, C].
      inputs: Features of the condition, as `TopDown` takes them.
    """
    maps, vector = sort_inputs(inputs, x.shape[1:3], len(self.widths))
    hidden, parts = x, []
    for k, width in enumerate(self.widths):
      if k:
        hidden = conv(width, 2, dtype=self.dtype)(hidden)
      hidden = jnp.concatenate([hidden, *maps[k]], -1)
      hidden = conv(width, dtype=self.dtype)(hidden)
      if vector is not None:
        hidden += nn.Dense(width, dtype=self.dtype)(vector)[:, None, None]
      for _ in range(self.blocks):
        hidden = ResidualBlock(self.dtype)(hidden)
      if self.code_channels[k]:
        parts.append(conv(2 * self.code_channels[k], dtype=self.dtype)(hidden))
    if self.code:
      window = tuple(max(1, side // _POOLED) for side in hidden.shape[1:3])
      pooled = nn.avg_pool(nn.relu(Norm("group")(hidden)), window, window)
      flat = pooled.reshape(len(pooled), -1)
      parts.append(nn.Dense(2 * self.code, dtype=self.dtype)(flat))
    wide = [part.astype(at_least_float32(part.dtype)) for part in parts]
    means, log_stds = zip(
      *(jnp.split(p, 2, axis=-1) for p in wide), strict=True
    )
    return means, log_stds


def sort_inputs(
  inputs: PyTree, size: Sequence[int], resolutions: int
) -> tuple[list[list[Array]], Array | None]:
  """Returns the maps at each resolution, and all vectors as one, or None.

  Raises:
    ValueError: for a map at no resolution of a picture of this size.
  """
  sides = [tuple(side >> k for side in size) for k in range(resolutions)]
  maps: list[list[Array]] = [[] for _ in sides]
  vectors = []
  for leaf in jax.tree.leaves(inputs):
    if leaf.ndim == 2:
      vectors.append(leaf)
    elif leaf.shape[1:3] in sides:
      maps[sides.index(leaf.shape[1:3])].append(leaf)
    else:
      raise ValueError(
        f"This network of pictures of {size[0]}x{size[1]} takes maps of"
        f" {', '.join(f'{h}x{w}' for h, w in sides)}, got"
        f" {leaf.shape[1]}x{leaf.shape[2]}."
      )
  return maps, jnp.concatenate(vectors, -1) if vectors else None


def conv(
  channels: int,
  stride: int = 1,
  dtype: DTypeLike | None = None,
  weights: Initializer | None = None,
) -> nn.Conv:
  """Builds a 3x3 convolution that keeps the size or divides it by `stride`."""
  return nn.Conv(
    channels,
    (3, 3),
    (stride, stride),
    padding=((1, 1), (1, 1)),
    kernel_init=weights or nn.initializers.lecun_normal(),
    dtype=dtype,
    conv_general_dilated=conv_general_dilated,
  )


def double(maps: Array) -> Array:
  """Repeats each position twice along height and width."""
  b, h, w, c = maps.shape
  return jax.image.resize(maps, (b, 2 * h, 2 * w, c), "nearest")
