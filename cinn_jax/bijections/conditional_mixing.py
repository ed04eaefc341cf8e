"""A mixing of the channels that depends on the condition."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  zero_log_det,
)
from cinn_jax.bijections.conditions import check_condition
from cinn_jax.bijections.log_scales import report_log_scale, soft_clamp


class ConditionalMixing(Bijection):
  """z = x L(c) U(c), with one pair of triangular matrices per example.

  The diagonal of L is 1; that of U is exp(g(s)), with the soft clamp g of
  couplings. All other entries are smaller than 1 / C in absolute value, so
  those of a row sum to less than 1. Neither matrix can become singular,
  whatever the network returns. log_det is H * W * sum(g(s)). A network that
  returns zeros gives the identity, so combine this with a learned mixing that
  does not depend on the condition.

  This is the conditional 1x1 convolution of Lu and Huang 2020, except that
  their network returns an arbitrary matrix, which may be singular.

  Attributes:
    subnet: Makes a network `net(u, cond, features) -> [B, features]` with C * C
      features. u is the first vector of the condition, `cond` the others.
    alpha: Bound of the log-scale.
    clamp: A name in `CLAMPS`.
  """

  subnet: Callable[[], nn.Module]
  alpha: float = 1.0
  clamp: str = "cinn_paper"

  def setup(self) -> None:
    self.net = self.subnet()

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    lower, upper, log_scale = self._factors(x, cond)
    product = jnp.matmul(lower, upper, precision="highest")
    rows = _rows(x)
    z = jnp.matmul(rows, product, precision="highest").reshape(x.shape)
    return z, _log_det(log_scale, rows)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    lower, upper, log_scale = self._factors(z, cond)
    rows = _rows(z).astype(upper.dtype)
    x = triangular_solve(upper, rows)
    x = triangular_solve(lower, x, lower=True, unit_diagonal=True)
    return x.reshape(z.shape), -_log_det(log_scale, rows)

  def _factors(self, x: Array, cond: Condition) -> tuple[Array, Array, Array]:
    """Returns L and U [B, C, C], and the log-scales [B, C]."""
    check_condition(x, cond)
    leaves = jax.tree.leaves(cond)
    if not leaves or any(leaf.ndim != 2 for leaf in leaves):
      raise ValueError(
        "ConditionalMixing takes vectors [B, C] as its condition, got"
        f" {[leaf.shape for leaf in leaves]}: average maps over positions."
      )
    channels = x.shape[-1]
    raw = self.net(leaves[0], leaves[1:], channels**2)
    raw = raw.astype(at_least_float32(x.dtype))
    raw = raw.reshape(-1, channels, channels)
    diagonal = jnp.diagonal(raw, axis1=1, axis2=2)
    log_scale = soft_clamp(self.clamp, diagonal, self.alpha)
    report_log_scale(self, log_scale)
    others = jnp.tanh(raw) / channels
    identity = jnp.eye(channels, dtype=raw.dtype)[None]
    lower = jnp.tril(others, -1) + identity
    upper = jnp.triu(others, 1) + identity * jnp.exp(log_scale)[:, None]
    return lower, upper, log_scale


def _rows(x: Array) -> Array:
  """Reshapes [B, ..., C] to [B, positions, C]."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


def _log_det(log_scale: Array, rows: Array) -> Array:
  return zero_log_det(rows) + rows.shape[1] * jnp.sum(log_scale, axis=-1)
