"""RRDB, the network of ESRGAN (Wang et al. 2018), as an encoder of flows."""

import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, at_least_float32
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

_leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.2)
_RESIDUAL = 0.2  # Factor of a block's own output before its input is added.


class ResidualInResidual(nn.Module):
  """Three densely connected blocks of five 3x3 convolutions each.

  Attributes:
    growth: Number of channels of the first four convolutions of a block.
    dtype: Precision of the computation; None follows the data.
  """

  growth: int
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, h, w, C] to the same shape."""
    hidden = x
    for _ in range(3):
      features = hidden
      for _ in range(4):
        new = _leaky_relu(_dense_conv(self.growth, dtype=self.dtype)(features))
        features = jnp.concatenate([features, new], -1)
      hidden += _RESIDUAL * _dense_conv(x.shape[-1], dtype=self.dtype)(features)
    return x + _RESIDUAL * hidden


class RRDBEncoder(nn.Module):
  """Features of a small picture for every level of a flow of a large one.

  The blocks are scanned. The features of a level are those of the last block
  and those of the tapped blocks. For finer levels the last features go through
  a convolution after each doubling of their size, and a level sees them before
  the leaky ReLU that the next doubling starts from. For levels coarser than the
  small picture all features are averaged over 2x2 positions. With the defaults
  a level has 320 channels.

  Attributes:
    levels: Number of levels of the flow; level k has 1 / 2^(k + 1) of the large
      picture's size.
    blocks: Number of `ResidualInResidual` blocks.
    taps: Indices, from 0, of the blocks whose features every level sees.
    width: Number of channels of the features.
    growth, dtype: See `ResidualInResidual`.
  """

  levels: int
  blocks: int = 23
  taps: Sequence[int] = (1, 8, 15, 22)
  width: int = 64
  growth: int = 32
  dtype: DTypeLike | None = None

  def __call__(self, cond: Array, scale: int) -> dict[str, Array]:
    """Maps [B, h, w, C], 1 / `scale` of the large picture, to features.

    Returns {"level_0": [B, h, w, c], ...}.
    """
    # The head gets parameters with the rest, for pretraining.
    return self._run(cond, scale, with_head=self.is_initializing())[0]

  def predict(self, cond: Array) -> Array:
    """Returns the encoder's own guess of the large picture.

    It is [B, scale * h, scale * w, 3], with the scale of the parameters. Only
    `training.encoder_pretraining` trains the head behind the features. Once a
    flow has changed the rest, the guesses get worse.
    """
    guess = self._run(cond, 2 ** self._enlargements(), with_head=True)[1]
    return guess.astype(at_least_float32(guess.dtype))

  @nn.compact
  def _run(self, cond, scale, *, with_head):
    if not all(0 <= tap < self.blocks for tap in self.taps):
      raise ValueError(
        f"taps are blocks from 0 to {self.blocks - 1}, got {self.taps}."
      )
    conv = functools.partial(_conv, dtype=self.dtype)
    first = conv(self.width, name="first")(cond)
    last, all_blocks = _scan_blocks(first, self.blocks, self.growth, self.dtype)
    last = first + conv(self.width, name="trunk")(last)
    tapped = jnp.concatenate([all_blocks[tap] for tap in self.taps], -1)
    # By multiples of the small picture's size.
    by_factor, activated = {1: last}, {1: last}
    # The finest level has half the large picture's size; the head needs all.
    doublings = round(math.log2(scale)) - (not with_head)
    if not self.is_initializing() and doublings > self._enlargements():
      raise ValueError(
        "This encoder has parameters for pictures up to"
        f" {2 ** (self._enlargements() + 1)} times as large as the condition,"
        f" got {scale} times."
      )
    for k in range(1, doublings + 1):
      enlarged = enlarge(activated[2 ** (k - 1)], 2)
      by_factor[2**k] = conv(self.width, name=f"up_{k}")(enlarged)
      activated[2**k] = _leaky_relu(by_factor[2**k])
    features = {}
    for k in range(self.levels):
      factor = scale / 2 ** (k + 1)
      if factor >= 1:
        parts = [by_factor[int(factor)], enlarge(tapped, int(factor))]
      else:
        parts = [_shrink(part, int(1 / factor)) for part in (last, tapped)]
      features[f"level_{k}"] = jnp.concatenate(parts, -1)
    if not with_head:
      return features, None
    hidden = _leaky_relu(conv(self.width, name="head")(activated[scale]))
    return features, _conv(3, name="picture")(hidden)

  def _enlargements(self):
    """Returns the number of doublings that it has parameters for."""
    return sum(name.startswith("up_") for name in self.variables["params"])


class RRDBFeatures(nn.Module):
  """Features of a picture, or of other maps, at their own size, for HCFlow.

  They are the features halfway through the blocks, and those at the end.

  Attributes:
    blocks: Number of `ResidualInResidual` blocks in each half.
    width: Number of channels of either half's features.
    growth, dtype: See `ResidualInResidual`.
  """

  blocks: int = 7
  width: int = 64
  growth: int = 32
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, maps: Array) -> Array:
    """Maps [B, h, w, C] to [B, h, w, 2 * width]."""
    if self.blocks < 1:
      raise ValueError(f"A network has 1 block or more, got {self.blocks}.")
    conv = functools.partial(_conv, dtype=self.dtype)
    first = conv(self.width, name="first")(maps)
    last, all_blocks = _scan_blocks(
      first, 2 * self.blocks, self.growth, self.dtype
    )
    last = first + conv(self.width, name="trunk")(last)
    return jnp.concatenate([all_blocks[self.blocks - 1], last], -1)


def _scan_blocks(first, blocks, growth, dtype):
  """Returns the last block's features, and those of all [blocks, ...]."""
  scan = nn.scan(
    lambda block, hidden, _: (block(hidden),) * 2,
    variable_axes={"params": 0},
    split_rngs={"params": True},
    length=blocks,
  )
  block = ResidualInResidual(growth, dtype, name="blocks")
  return scan(block, first, None)


# PyTorch's start of a convolution, and ESRGAN's of its dense blocks: a tenth of
# Kaiming's standard deviation.
_START = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_SMALL_START = nn.initializers.variance_scaling(0.02, "fan_in", "normal")


def _dense_conv(channels, dtype=None):
  return _conv(channels, dtype=dtype, kernel_init=_SMALL_START)


def _conv(channels, name=None, dtype=None, kernel_init=_START):
  """Builds a 3x3 convolution that keeps the size."""
  return nn.Conv(
    channels,
    (3, 3),
    kernel_init=kernel_init,
    conv_general_dilated=conv_general_dilated,
    dtype=dtype,
    name=name,
  )


def enlarge(maps: Array, factor: int) -> Array:
  """Repeats each position `factor` times, along height and width."""
  b, h, w, c = maps.shape
  return jax.image.resize(maps, (b, factor * h, factor * w, c), "nearest")


def _shrink(maps, factor):
  return nn.avg_pool(maps, (factor,) * 2, (factor,) * 2)
