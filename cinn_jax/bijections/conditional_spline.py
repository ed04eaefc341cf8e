"""A monotonic map of each number, steered by the condition alone."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  sum_per_example,
)
from cinn_jax.bijections.conditions import check_condition
from cinn_jax.bijections.log_scales import affine, report_log_scale, soft_clamp
from cinn_jax.bijections.spline import (
  make_knots,
  spline_forward,
  spline_inverse,
)


class ConditionalSpline(Bijection):
  """An affine map of each number, then a spline, given the condition.

  Unlike couplings, it also works for data of a single number. Channels do not
  see each other, and all positions of a channel share one map. With a condition
  of vectors [B, Cc], a network returns the maps; without one they are
  parameters. A network that returns zeros gives the identity. The spline is
  that of Durkan et al. 2019, see `SplineCoupling`.

  Attributes:
    subnet: Makes a network `net(u, cond, features)`, as for couplings; used
      only with a condition.
    bins: Number of bins K of the spline.
    bound: Absolute value above which the spline is the identity.
    min_bin: Minimum width and height of a bin, see `SplineCoupling`.
    alpha: Bound of the logarithm of the slopes at knots.
    affine_alpha: Bound of the log-scale of the affine map.
  """

  subnet: Callable[[], nn.Module]
  bins: int = 8
  bound: float = 4.0
  min_bin: float = 0.1
  alpha: float = 2.0
  affine_alpha: float = 1.9

  @nn.compact
  def _maps(self, x: Array, cond: Condition) -> Array:
    """Returns the free numbers [B or 1, 1, ..., C, 3K + 1]."""
    channels, each = x.shape[-1], 3 * self.bins + 1
    check_condition(x, cond)
    leaves = jax.tree.leaves(cond)
    if any(leaf.ndim != 2 for leaf in leaves):
      raise ValueError(
        "ConditionalSpline takes vectors [B, C] as its condition, got"
        f" {[leaf.shape for leaf in leaves]}: average maps over positions."
      )
    if not self.is_initializing() and bool(leaves) == self.has_variable(
      "params", "maps"
    ):
      without, given = ("without", "one") if leaves else ("with", "none")
      raise ValueError(
        f"This flow was initialised {without} a condition, and is given"
        f" {given}."
      )
    if leaves:
      net = self.subnet()
      maps = net(leaves[0], leaves[1:], channels * each)
    else:
      maps = self.param("maps", nn.initializers.zeros, (channels * each,))[None]
    shape = len(maps), *(1,) * (x.ndim - 2), channels, each
    return maps.astype(at_least_float32(x.dtype)).reshape(shape)

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(x, self._maps(x, cond), inverse=False)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(z, self._maps(z, cond), inverse=True)

  def _run(
    self, value: Array, maps: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    shift = maps[..., 0]
    log_scale = soft_clamp("cinn_paper", maps[..., 1], self.affine_alpha)
    report_log_scale(self, log_scale)
    log_scale = jnp.broadcast_to(log_scale, value.shape)
    value = value.astype(maps.dtype)
    if not inverse:
      value = affine(value, log_scale, shift, inverse=False)
    value, log_slope = self._spline(value, maps[..., 2:], inverse=inverse)
    if inverse:
      value = affine(value, log_scale, shift, inverse=True)
    log_det = sum_per_example(log_scale + log_slope)
    return value, -log_det if inverse else log_det

  def _spline(self, value, head, *, inverse):
    head = jnp.broadcast_to(head, (*value.shape, head.shape[-1]))
    knots = make_knots(head, self.bound, self.min_bin, self.alpha)
    # Gradients must be finite even if the result is not used.
    inside = jnp.abs(value) <= self.bound
    run = spline_inverse if inverse else spline_forward
    moved, log_slope = run(jnp.where(inside, value, 0), knots)
    return jnp.where(inside, moved, value), jnp.where(inside, log_slope, 0)
