"""A mixing of the channels that the condition chooses, for each example."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve

from cinn_jax.bijections.base import (
  Bijection,
  at_least_float32,
  zero_log_det,
)
from cinn_jax.bijections.coupling import (
  check_condition,
  clamped,
  report_log_scale,
)


class ConditionalMixing(Bijection):
  """z = x L(c) U(c) with one pair of triangular matrices per example.

  L has a diagonal of 1; U has exp(g(s)) with the soft clamp g of couplings.
  All other entries are below 1 / C in size, so that those of a row sum to less
  than 1: neither can become singular, whatever the network says. log_det is
  H * W * sum(g(s)). A network that makes zeros gives the identity, so a mixing
  that is learned without a condition belongs beside it.

  The conditional 1x1 convolution of Lu and Huang 2020, whose network makes any
  matrix, be it singular or not.

  Attributes:
    subnet: makes a network `net(u, cond, features) -> [B, features]`, of C * C
      features; u is the condition's first vector, its condition the others.
    alpha: the bound of the log-scale.
    clamp: a name in `CLAMPS`.
  """

  subnet: Callable[[], nn.Module]
  alpha: float = 1.0
  clamp: str = "cinn_paper"

  def setup(self):
    self.net = self.subnet()

  def forward(self, x, cond=None):
    lower, upper, log_scale = self._factors(x, cond)
    product = jnp.matmul(lower, upper, precision="highest")
    rows = _rows(x)
    z = jnp.matmul(rows, product, precision="highest").reshape(x.shape)
    return z, _log_det(log_scale, rows)

  def inverse(self, z, cond=None):
    lower, upper, log_scale = self._factors(z, cond)
    rows = _rows(z).astype(upper.dtype)
    x = triangular_solve(upper, rows)
    x = triangular_solve(lower, x, lower=True, unit_diagonal=True)
    return x.reshape(z.shape), -_log_det(log_scale, rows)

  def _factors(self, x, cond):
    """L and U [B, C, C], and the log-scales [B, C]."""
    check_condition(x, cond)
    leaves = jax.tree.leaves(cond)
    if not leaves or any(leaf.ndim != 2 for leaf in leaves):
      raise ValueError(
        "ConditionalMixing is steered by vectors [B, C], got"
        f" {[leaf.shape for leaf in leaves]}: average maps over positions."
      )
    channels = x.shape[-1]
    raw = self.net(leaves[0], leaves[1:], channels**2)
    raw = raw.astype(at_least_float32(x.dtype))
    raw = raw.reshape(-1, channels, channels)
    diagonal = jnp.diagonal(raw, axis1=1, axis2=2)
    log_scale = clamped(self.clamp, diagonal, self.alpha)
    report_log_scale(self, log_scale)
    others = jnp.tanh(raw) / channels
    identity = jnp.eye(channels, dtype=raw.dtype)[None]
    lower = jnp.tril(others, -1) + identity
    upper = jnp.triu(others, 1) + identity * jnp.exp(log_scale)[:, None]
    return lower, upper, log_scale


def _rows(x):
  """[B, ..., C] to [B, positions, C]."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


def _log_det(log_scale, rows):
  return zero_log_det(rows) + rows.shape[1] * jnp.sum(log_scale, axis=-1)
