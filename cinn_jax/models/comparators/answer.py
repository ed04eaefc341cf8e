"""Networks that answer a condition, with or without a code."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.models.image_cinn import resize
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.networks.subnets import compute_dtype_named
from cinn_jax.models.networks.u_net import TopDown, conv
from cinn_jax.models.srflow import scale_between


class Answer(nn.Module):
  """A condition network, and a decoder from its features to a picture.

  If the condition network is an `RRDBEncoder`, its own guess is the answer.

  Attributes:
    condition_net: Network from a picture to features, which may be that of a
      flow for the same task; None if the condition is a vector.
    decoder: Network from features and code to the picture; None for an
      `RRDBEncoder`.
    resized: The condition network sees the condition at the picture's size.
    code_channels: Number of channels of the code's maps at each resolution of
      the decoder, finest first. For an `RRDBEncoder`, one number: the channels
      of a map of the condition's size.
    code: Length of the code's vector, or 0.
    mean, std: Rough mean and deviation of x, and of the condition if it is a
      picture. Networks compute in these units.
  """

  condition_net: Any
  decoder: Any
  resized: bool = False
  code_channels: Sequence[int] = ()
  code: int = 0
  mean: float = 0.0
  std: float = 1.0

  def setup(self) -> None:
    if self._is_rrdb and any(self.code_channels):
      self.noise = _Noise()

  @property
  def _is_rrdb(self) -> bool:
    return isinstance(self.condition_net, RRDBEncoder)

  def answer(
    self, cond: Condition, size: Sequence[int], code: Sequence[Array] = ()
  ) -> Array:
    """Returns the decoder's output [B, H, W, channels] for (H, W) = `size`.

    It is in units of `mean` and `std`. `code` has arrays of `code_shapes`.
    """
    if not self._is_rrdb:
      return self.decoder((self.features(cond, size), tuple(code)), size)
    if self.is_initializing():
      # Only this call creates the parameters of its upsampling.
      self.condition_net(cond, scale_between(size, cond.shape[1:3]))
    if code:
      cond = cond + self.std * self.noise(code[0], cond.shape[-1])
    guess = self.condition_net.predict(cond)
    return (guess - self.mean) / self.std

  def features(self, cond: Condition, size: Sequence[int]) -> PyTree:
    """Returns the features that the decoder sees: maps, or one vector."""
    if cond.ndim == 2:
      return {"vector": cond}
    cond = (cond - self.mean) / self.std
    picture = resize(cond, size)
    own = self.condition_net(picture if self.resized else cond)
    return {**own, "picture": picture}

  def to_x(self, out: Array) -> Array:
    """Converts a network's units to those of x."""
    return self.mean + self.std * out

  @nn.nowrap
  def code_shapes(
    self, size: Sequence[int], cond_shape: Sequence[int]
  ) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of the code of one picture, finest first."""
    if self._is_rrdb:
      sides = [tuple(cond_shape[:2])]
    else:
      count = len(self.code_channels)
      sides = [tuple(side >> k for side in size) for k in range(count)]
    maps = [
      (*side, channels)
      for side, channels in zip(sides, self.code_channels, strict=True)
      if channels
    ]
    return (*maps, *([(self.code,)] if self.code else []))


class _Noise(nn.Module):
  """A convolution of noise to the number of channels of a condition.

  It starts with a deviation of 1/70: the network may have been trained without
  noise, and would answer louder noise with noise.
  """

  @nn.compact
  def __call__(self, noise: Array, channels: int) -> Array:
    weights = nn.initializers.variance_scaling(2e-4, "fan_in", "normal")
    return conv(channels, weights=weights)(noise)


def answer_parts(
  *,
  widths: Sequence[int],
  blocks: int,
  channels: int,
  condition_levels: Sequence[Sequence[tuple[int, int]]],
  condition_vector: int,
  condition_pool: int,
  compute_dtype: str,
) -> dict[str, Any]:
  """Returns the networks of an `Answer`, by attribute.

  Args:
    widths, blocks, channels: See `TopDown`.
    condition_levels, condition_vector, condition_pool: See `Pyramid`. Without
      levels, the condition is a vector, and there is no condition network.
    compute_dtype: A name in `subnets.COMPUTE_DTYPES`.
  """
  dtype = compute_dtype_named(compute_dtype)
  net = None
  if condition_levels:
    net = Pyramid(
      condition_levels,
      vector=condition_vector,
      pool=condition_pool,
      dtype=dtype,
    )
  return {
    "condition_net": net,
    "decoder": TopDown(tuple(widths), channels, blocks, dtype),
  }


def squared(x: Array, y: Array) -> Array:
  """Returns the mean squared difference of each example, [B]."""
  return jnp.mean((x - y) ** 2, axis=tuple(range(1, x.ndim)))


def absolute(x: Array, y: Array) -> Array:
  """Returns the mean absolute difference of each example, [B]."""
  return jnp.mean(jnp.abs(x - y), axis=tuple(range(1, x.ndim)))
