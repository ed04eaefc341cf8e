"""Conditional coupling blocks: one half of the channels steers the other."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Bijection,
  at_least_float32,
  sum_per_example,
  zero_log_det,
)

# Soft clamps of the log-scale, g(s); |g| stays below alpha (for 0.636 in place
# of 2/pi, a thousandth less). Four forms are in published use:
CLAMPS: dict[str, Callable] = {
  # The paper (Ardizzone et al. 2019): slope 2/pi at 0, whatever alpha.
  "cinn_paper": lambda s, alpha: alpha * (2 / jnp.pi) * jnp.arctan(s / alpha),
  # The code published with it, which rounds 2/pi.
  "cinn_code": lambda s, alpha: alpha * 0.636 * jnp.arctan(s / alpha),
  # FrEIA since February 2021, and CAFLOW: the slope at 0 grows with alpha.
  "freia_2021": lambda s, alpha: alpha * 0.636 * jnp.arctan(s),
  # Scales of sigmoid(s + 2) + exp(-alpha), which start below 1: Glow has it
  # without a floor (alpha infinite), SRFlow with 1e-4 (alpha 9.21).
  "sigmoid": lambda s, alpha: jnp.logaddexp(jax.nn.log_sigmoid(s + 2), -alpha),
  # Not published: scales between exp(-alpha) and 1, halfway between the two at
  # 0. No coupling stretches going forward, and going back none by more than
  # exp(alpha).
  "contracting": lambda s, alpha: jnp.log1p(jnp.expm1(-alpha) * nn.sigmoid(-s)),
}


def clamped(name, raw, alpha):
  """What is exponentiated, of what a network made: `CLAMPS[name]` of it.

  Raises:
    ValueError: for an unknown clamp.
  """
  if name not in CLAMPS:
    raise ValueError(f"Unknown clamp {name!r}; there are {', '.join(CLAMPS)}.")
  return CLAMPS[name](raw, alpha)


def affine(value, log_scale, shift, *, inverse):
  """value * exp(log_scale) + shift, or its inverse."""
  if inverse:
    return (value - shift) * jnp.exp(-log_scale)
  return value * jnp.exp(log_scale) + shift


def report_log_scale(module, log_scale):
  """Sows the largest absolute log-scale into the collection "diagnostics"."""
  module.sow(
    "diagnostics",
    "max_log_scale",
    jnp.max(jnp.abs(log_scale)),
    reduce_fn=jnp.maximum,
    init_fn=lambda: jnp.zeros((), log_scale.dtype),
  )


class Coupling(Bijection):
  """What all couplings share; a subclass says how a half is transformed.

  With halves (x1, x2) of the channels (floor(C/2) first) and condition c:

    two-sided   y1 = f(x1; net_2(x2, c)),  y2 = f(x2; net_1(y1, c))
    one-sided   y1 = x1,                   y2 = f(x2; net_1(x1, c))

  f acts on each number alone, with a positive slope. A subclass defines
  `features` and `transform`.

  Attributes:
    subnet: makes a network `net(u, cond, features) -> [B, ..., features]`; see
      `cinn_jax.models.networks.subnets`. Called once per network.
    sides: 2 or 1.
  """

  subnet: Callable[[], nn.Module]
  sides: int = 2

  # Where log_det is 0 whatever the network says, rounding shall not blur it.
  preserves_volume = False

  def features(self, channels):
    """How many numbers the network makes for `channels` active ones."""
    raise NotImplementedError(f"{type(self).__name__}.features")

  def transform(self, active, head, *, inverse):
    """The active half [B, ..., C] after f, or its inverse.

    `head` is what the network made, in at least float32. Returns the half and
    the logarithms [B, ..., C] of *f's* slopes, whichever direction runs.
    """
    raise NotImplementedError(f"{type(self).__name__}.transform")

  def network(self):
    """A new network for one side."""
    return self.subnet()

  def setup(self):
    if self.sides not in (1, 2):
      raise ValueError(f"sides is 1 or 2, got {self.sides}.")
    self.net_1 = self.network()
    if self.sides == 2:
      self.net_2 = self.network()

  def forward(self, x, cond=None):
    return self._run(x, cond, inverse=False)

  def inverse(self, z, cond=None):
    return self._run(z, cond, inverse=True)

  def _run(self, value, cond, *, inverse):
    halves = _halves(value)
    check_condition(value, cond)
    total = zero_log_det(value)
    steps = [(0, self.net_2)] if self.sides == 2 else []
    steps.append((1, self.net_1))
    for k, net in reversed(steps) if inverse else steps:
      active, passive = halves[k], halves[1 - k]
      head = net(passive, cond, self.features(active.shape[-1]))
      head = head.astype(at_least_float32(active.dtype))
      halves[k], log_scale = self.transform(active, head, inverse=inverse)
      report_log_scale(self, log_scale)
      if not self.preserves_volume:
        log_det = sum_per_example(log_scale)
        total += -log_det if inverse else log_det
    return jnp.concatenate(halves, -1), total


class AffineCoupling(Coupling):
  """Affine coupling: f(x; s, t) = x * exp(g(s)) + t.

  One network per side makes both s and t. g is a soft clamp that bounds the
  log-scale by alpha; log_det is the sum of the clamped log-scales. (Two-sided:
  Ardizzone et al. 2019. One-sided: Kingma and Dhariwal 2018, Glow.)

  Attributes:
    alpha: the bound of the log-scale, per side.
    clamp: a name in `CLAMPS`.
  """

  alpha: float = 1.9
  clamp: str = "cinn_paper"

  def features(self, channels):
    return 2 * channels

  def transform(self, active, head, *, inverse):
    raw, shift = jnp.split(head, 2, axis=-1)
    log_scale = self.log_scale(raw)
    return affine(active, log_scale, shift, inverse=inverse), log_scale

  def log_scale(self, raw):
    """What is exponentiated, of what the network made."""
    return clamped(self.clamp, raw, self.alpha)


class RealNVPCoupling(AffineCoupling):
  """Affine coupling whose scales and shifts have a network each.

  (Dinh et al. 2017, equations 7 and 8, one-sided there.) The networks of a
  side are "scale" and "shift" below "net_1" and "net_2".
  """

  def network(self):
    return ScaleAndShift(self.subnet)


class ScaleAndShift(nn.Module):
  """Two networks in the place of one: half of the features each."""

  subnet: Callable[[], nn.Module]

  def setup(self):
    self.scale = self.subnet()
    self.shift = self.subnet()

  def __call__(self, u, cond, features):
    each = features // 2
    scale, shift = self.scale(u, cond, each), self.shift(u, cond, each)
    return jnp.concatenate([scale, shift], -1)


class GINCoupling(AffineCoupling):
  """Affine coupling that preserves volume: log_det is 0.

  The mean over the active channels is subtracted from the clamped log-scales,
  so that they sum to 0 at every position and stay below 2 * alpha; a single
  active channel is only shifted. (Sorrenson et al. 2020, who make the last
  log-scale minus the sum of the others; the mean treats all alike, as FrEIA's
  block does.)
  """

  preserves_volume = True

  def log_scale(self, raw):
    clamped = super().log_scale(raw)
    return clamped - jnp.mean(clamped, axis=-1, keepdims=True)


class AdditiveCoupling(Coupling):
  """Additive coupling, f(x; t) = x + t; log_det is 0.

  (Dinh et al. 2014, NICE, equations 5 and 6, one-sided there.)
  """

  def features(self, channels):
    return channels

  def transform(self, active, head, *, inverse):
    shift = -head if inverse else head
    return active + shift, jnp.zeros_like(head)


def _halves(x):
  channels = x.shape[-1]
  if channels < 2:
    raise ValueError(
      f"A coupling needs at least 2 channels to split, got shape {x.shape}:"
      " squeeze the image first (Haar or Squeeze)."
    )
  return jnp.split(x, [channels // 2], axis=-1)


def check_condition(x, cond):
  """Raises ValueError where a leaf of `cond` cannot meet the data `x`.

  A leaf is a vector [B, C], which meets an image by broadcasting, or has the
  data's own batch and spatial shape.
  """
  for leaf in jax.tree.leaves(cond):
    if leaf.ndim < 2:
      raise ValueError(
        f"A condition is [B, C] or [B, H, W, C], got shape {leaf.shape};"
        " class labels are passed one-hot."
      )
    if leaf.shape[0] != x.shape[0]:
      raise ValueError(
        f"The condition's batch is {leaf.shape[0]}, the data's"
        f" {x.shape[0]}: pass one condition per example, or vmap over latents."
      )
    if leaf.ndim > 2 and leaf.shape[1:-1] != x.shape[1:-1]:
      raise ValueError(
        f"The condition of shape {leaf.shape} does not meet data of shape"
        f" {x.shape}: pass features at this level's resolution"
        f" {list(x.shape[1:-1])}, or a vector [B, C]."
      )


def max_log_scale(diagnostics):
  """The largest absolute log-scale that any coupling reported; 0 of none."""
  largest = [jnp.max(leaf) for leaf in jax.tree.leaves(diagnostics)]
  return jnp.max(jnp.stack([jnp.zeros(()), *largest]))
