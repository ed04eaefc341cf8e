"""Conditional affine coupling blocks."""

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
# of 2/pi, a thousandth less). Three forms are in published use:
CLAMPS: dict[str, Callable] = {
  # The paper (Ardizzone et al. 2019): slope 2/pi at 0, whatever alpha.
  "cinn_paper": lambda s, alpha: alpha * (2 / jnp.pi) * jnp.arctan(s / alpha),
  # The code published with it, which rounds 2/pi.
  "cinn_code": lambda s, alpha: alpha * 0.636 * jnp.arctan(s / alpha),
  # FrEIA since February 2021, and CAFLOW: the slope at 0 grows with alpha.
  "freia_2021": lambda s, alpha: alpha * 0.636 * jnp.arctan(s),
}


class AffineCoupling(Bijection):
  """Affine coupling, two-sided as in cINN or one-sided as in RealNVP.

  With halves (x1, x2) of the channels (floor(C/2) first) and condition c:

    two-sided   y1 = x1 * exp(g(s2)) + t2,  (s2, t2) = net_2(x2, c)
                y2 = x2 * exp(g(s1)) + t1,  (s1, t1) = net_1(y1, c)
    one-sided   y1 = x1,  y2 as above

  g is a soft clamp that bounds the log-scale by alpha; log_det is the sum of
  the clamped log-scales. (Two-sided: Ardizzone et al. 2019. One-sided: Dinh et
  al. 2017, RealNVP; Kingma and Dhariwal 2018, Glow.)

  Attributes:
    subnet: makes a network `net(u, cond, features) -> [B, ..., features]`; see
      `cinn_jax.models.subnets`. Called once per side.
    sides: 2 or 1.
    alpha: the bound of the log-scale, per side.
    clamp: a name in `CLAMPS`.
  """

  subnet: Callable[[], nn.Module]
  sides: int = 2
  alpha: float = 1.9
  clamp: str = "cinn_paper"

  def setup(self):
    if self.sides not in (1, 2):
      raise ValueError(f"sides is 1 or 2, got {self.sides}.")
    if self.clamp not in CLAMPS:
      raise ValueError(
        f"Unknown clamp {self.clamp!r}; there are {', '.join(CLAMPS)}."
      )
    self.net_1 = self.subnet()
    if self.sides == 2:
      self.net_2 = self.subnet()

  def forward(self, x, cond=None):
    first, second = _halves(x)
    log_det = zero_log_det(x)
    if self.sides == 2:
      log_scale, shift = self._affine(self.net_2, second, cond, first)
      first = first * jnp.exp(log_scale) + shift
      log_det += sum_per_example(log_scale)
    log_scale, shift = self._affine(self.net_1, first, cond, second)
    second = second * jnp.exp(log_scale) + shift
    log_det += sum_per_example(log_scale)
    return jnp.concatenate([first, second], -1), log_det

  def inverse(self, z, cond=None):
    first, second = _halves(z)
    log_det = zero_log_det(z)
    log_scale, shift = self._affine(self.net_1, first, cond, second)
    second = (second - shift) * jnp.exp(-log_scale)
    log_det -= sum_per_example(log_scale)
    if self.sides == 2:
      log_scale, shift = self._affine(self.net_2, second, cond, first)
      first = (first - shift) * jnp.exp(-log_scale)
      log_det -= sum_per_example(log_scale)
    return jnp.concatenate([first, second], -1), log_det

  def _affine(self, net, passive, cond, active):
    """The clamped log-scale and the shift for the active half."""
    check_condition(passive, cond)
    features = 2 * active.shape[-1]
    head = net(passive, cond, features).astype(at_least_float32(active.dtype))
    raw, shift = jnp.split(head, 2, axis=-1)
    log_scale = CLAMPS[self.clamp](raw, self.alpha)
    self.sow(
      "diagnostics",
      "max_log_scale",
      jnp.max(jnp.abs(log_scale)),
      reduce_fn=jnp.maximum,
      init_fn=lambda: jnp.zeros((), log_scale.dtype),
    )
    return log_scale, shift


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
