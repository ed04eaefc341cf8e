"""Conditional coupling blocks: one half of the channels steers the other."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  sum_per_example,
  zero_log_det,
)
from cinn_jax.bijections.conditions import check_condition, check_head
from cinn_jax.bijections.log_scales import affine, report_log_scale, soft_clamp


class Coupling(Bijection):
  """The base class of couplings; subclasses define how a half is transformed.

  With halves (x1, x2) of the channels (floor(C/2) first) and condition c:

    two-sided   y1 = f(x1; net_2(x2, c)),  y2 = f(x2; net_1(y1, c))
    one-sided   y1 = x1,                   y2 = f(x2; net_1(x1, c))

  f acts on each number alone, with a positive slope. A subclass defines
  `features` and `transform`.

  Attributes:
    subnet: Makes a network `net(u, cond, features) -> [B, ..., features]`; see
      `cinn_jax.models.networks.subnets`. Called once per network.
    sides: 2 or 1.
  """

  subnet: Callable[[], nn.Module]
  sides: int = 2

  # If log_det is always 0, leave it at exactly 0 instead of summing rounding
  # errors.
  preserves_volume = False

  def features(self, channels: int) -> int:
    """Returns the number of features for `channels` active channels."""
    raise NotImplementedError(f"{type(self).__name__}.features")

  def transform(
    self, active: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    """Applies f or its inverse to the active half [B, ..., C].

    Args:
      active: The half that changes.
      head: The network's output [B, ..., features], in at least float32.
      inverse: Whether to apply the inverse of f.

    Returns:
      The new half and the logarithms [B, ..., C] of *f's* slopes, whichever
      direction runs.
    """
    raise NotImplementedError(f"{type(self).__name__}.transform")

  def network(self) -> nn.Module:
    """Makes a new network for one side."""
    return self.subnet()

  def setup(self) -> None:
    if self.sides not in (1, 2):
      raise ValueError(f"sides must be 1 or 2, got {self.sides}.")
    self.net_1 = self.network()
    if self.sides == 2:
      self.net_2 = self.network()

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(x, cond, inverse=False)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(z, cond, inverse=True)

  def _run(
    self, value: Array, cond: Condition, *, inverse: bool
  ) -> tuple[Array, Array]:
    halves = _halves(value)
    check_condition(value, cond)
    total = zero_log_det(value)
    steps = [(0, self.net_2)] if self.sides == 2 else []
    steps.append((1, self.net_1))
    for k, net in reversed(steps) if inverse else steps:
      active, passive = halves[k], halves[1 - k]
      features = self.features(active.shape[-1])
      head = net(passive, cond, features)
      check_head(head, active, features)
      head = head.astype(at_least_float32(active.dtype))
      halves[k], log_scale = self.transform(active, head, inverse=inverse)
      report_log_scale(self, log_scale)
      if not self.preserves_volume:
        log_det = sum_per_example(log_scale)
        total += -log_det if inverse else log_det
    return jnp.concatenate(halves, -1), total


class AffineCoupling(Coupling):
  """Affine coupling: f(x; s, t) = x * exp(g(s)) + t.

  One network per side returns both s and t. g is a soft clamp that bounds the
  log-scale by alpha; log_det is the sum of the clamped log-scales. (Two-sided:
  Ardizzone et al. 2019. One-sided: Kingma and Dhariwal 2018, Glow.)

  Attributes:
    alpha: Bound of the log-scale, per side.
    clamp: A name in `CLAMPS`.
  """

  alpha: float = 1.9
  clamp: str = "cinn_paper"

  def features(self, channels: int) -> int:
    return 2 * channels

  def transform(
    self, active: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    raw, shift = jnp.split(head, 2, axis=-1)
    log_scale = self.log_scale(raw)
    return affine(active, log_scale, shift, inverse=inverse), log_scale

  def log_scale(self, raw: Array) -> Array:
    """Returns the log-scales [B, ..., C] for the network's raw output s."""
    return soft_clamp(self.clamp, raw, self.alpha)


class RealNVPCoupling(AffineCoupling):
  """Affine coupling with separate networks for scales and shifts.

  (Dinh et al. 2017, equations 7 and 8, one-sided there.) The networks of a
  side are called "scale" and "shift" below "net_1" and "net_2".
  """

  def network(self) -> nn.Module:
    return ScaleAndShift(self.subnet)


class ScaleAndShift(nn.Module):
  """Two networks in place of one, each with half of the features."""

  subnet: Callable[[], nn.Module]

  def setup(self) -> None:
    self.scale = self.subnet()
    self.shift = self.subnet()

  def __call__(self, u: Array, cond: Condition, features: int) -> Array:
    each = features // 2
    scale, shift = self.scale(u, cond, each), self.shift(u, cond, each)
    return jnp.concatenate([scale, shift], -1)


class GINCoupling(AffineCoupling):
  """Affine coupling that preserves volume: log_det is 0.

  The mean over the active channels is subtracted from the clamped log-scales,
  so they sum to 0 at every position and stay below 2 * alpha. A single active
  channel is only shifted. (Sorrenson et al. 2020, who set the last log-scale to
  minus the sum of the others; subtracting the mean treats all alike, as FrEIA's
  block does.)
  """

  preserves_volume = True

  def log_scale(self, raw: Array) -> Array:
    log_scale = super().log_scale(raw)
    return log_scale - jnp.mean(log_scale, axis=-1, keepdims=True)


class AdditiveCoupling(Coupling):
  """Additive coupling, f(x; t) = x + t; log_det is 0.

  (Dinh et al. 2014, NICE, equations 5 and 6, one-sided there.)
  """

  def features(self, channels: int) -> int:
    return channels

  def transform(
    self, active: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    shift = -head if inverse else head
    return active + shift, jnp.zeros_like(head)


def _halves(x: Array) -> list[Array]:
  channels = x.shape[-1]
  if channels < 2:
    raise ValueError(
      f"A coupling needs at least 2 channels to split, got shape {x.shape}:"
      " squeeze the image first (Haar or Squeeze)."
    )
  return jnp.split(x, [channels // 2], axis=-1)
