"""Bijections that trade resolution for channels: squeeze, Haar, flatten."""

import math

import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  check_image,
  zero_log_det,
)

# Rows: average, horizontal, vertical and diagonal difference. Columns: the
# pixels (0,0), (0,1), (1,0), (1,1) of a 2x2 block. Orthogonal.
_HAAR = 0.5 * np.array(
  [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
)


class Squeeze(Bijection):
  """Space to depth: [B, H, W, C] to [B, H/2, W/2, 4C]; log_det is 0.

  Attributes:
    order: Numbering of the output channels. "position" is (2*dy + dx) * C + c,
      as in i-RevNet and in the cINNs published with the FrEIA of 2019.
      "channel" is 4*c + 2*dy + dx, as in Glow and in FrEIA without its option
      `legacy_backend`.
  """

  order: str = "position"

  def setup(self):
    _check_order(self.order, ("position", "channel"))

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    check_image(x, "Squeeze", even=True)
    return _merge(_blocks(x), self.order == "position"), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    _check_multiple_of_4(z, "Squeeze")
    blocks = _unmerge(z, self.order == "position")
    return _unblocks(blocks), zero_log_det(z)


class Haar(Bijection):
  """Haar wavelet squeeze: [B, H, W, C] to [B, H/2, W/2, 4C].

  Each 2x2 block becomes its average and its three differences, by an
  orthogonal matrix times `rebalance`; log_det is H*W*C*ln(rebalance).
  (Ardizzone et al. 2019.)

  Attributes:
    rebalance: Factor on the orthogonal transform. 1 keeps it orthogonal; 0.5,
      the published value, keeps the average in the range of the pixels.
    order: "wavelet" groups the output by wavelet (all averages first), as in
      the published cINN for ImageNet; "channel" groups it by input channel, as
      in the one for LSUN.
  """

  rebalance: float = 0.5
  order: str = "wavelet"

  def setup(self):
    _check_order(self.order, ("wavelet", "channel"))

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    check_image(x, "Haar", even=True)
    dtype = at_least_float32(x.dtype)
    matrix = jnp.asarray(_HAAR * self.rebalance, dtype)
    # Accelerators round what they multiply, unless told not to.
    blocks = jnp.einsum(
      "bhwpc,kp->bhwkc", _blocks(x), matrix, precision="highest"
    )
    z = _merge(blocks, self.order == "wavelet")
    return z, zero_log_det(x) + self._log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    _check_multiple_of_4(z, "Haar")
    dtype = at_least_float32(z.dtype)
    matrix = jnp.asarray(_HAAR / self.rebalance, dtype)
    blocks = _unmerge(z, self.order == "wavelet")
    blocks = jnp.einsum("bhwkc,kp->bhwpc", blocks, matrix, precision="highest")
    x = _unblocks(blocks)
    return x, zero_log_det(z) - self._log_det(z)

  def _log_det(self, x: Array) -> float:
    return math.prod(x.shape[1:]) * math.log(self.rebalance)


class Flatten(Bijection):
  """Flattens [B, *shape] to [B, prod(shape)]; log_det is 0.

  Attributes:
    shape: Shape of one example, needed to go back.
    order: "position" keeps the channels of a position together; "channel" keeps
      the positions of a channel together, as in PyTorch's layout [B, C, H, W].
  """

  shape: tuple[int, ...]
  order: str = "position"

  def setup(self):
    _check_order(self.order, ("position", "channel"))

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    if x.shape[1:] != tuple(self.shape):
      raise ValueError(
        f"Flatten expects examples of shape {tuple(self.shape)}, got"
        f" {x.shape[1:]}: a flow with a dense part takes one image size."
      )
    if self.order == "channel":
      x = jnp.moveaxis(x, -1, 1)
    return x.reshape(x.shape[0], -1), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    if self.order == "position":
      return z.reshape(z.shape[0], *self.shape), zero_log_det(z)
    *spatial, channels = self.shape
    x = z.reshape(z.shape[0], channels, *spatial)
    return jnp.moveaxis(x, 1, -1), zero_log_det(z)


def _blocks(x: Array) -> Array:
  """Maps [B, H, W, C] to [B, H/2, W/2, 4, C], positions numbered 2*dy + dx."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // 2, w // 2, 4, c)


def _unblocks(blocks: Array) -> Array:
  b, h, w, _, c = blocks.shape
  x = blocks.reshape(b, h, w, 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, 2 * h, 2 * w, c)


def _merge(blocks: Array, position_major: bool) -> Array:
  if not position_major:
    blocks = blocks.swapaxes(3, 4)
  return blocks.reshape(*blocks.shape[:3], -1)


def _unmerge(z: Array, position_major: bool) -> Array:
  b, h, w, c = z.shape
  if position_major:
    return z.reshape(b, h, w, 4, c // 4)
  return z.reshape(b, h, w, c // 4, 4).swapaxes(3, 4)


def _check_order(order: str, known: tuple[str, ...]) -> None:
  if order not in known:
    raise ValueError(f"Unknown order {order!r}; there are {', '.join(known)}.")


def _check_multiple_of_4(z: Array, owner: str) -> None:
  check_image(z, f"{owner}.inverse")
  if z.shape[-1] % 4:
    raise ValueError(
      f"{owner}.inverse takes a multiple of 4 channels, got shape {z.shape}."
    )
