"""Variational dequantization: which fraction a whole number gets.

A picture v of whole numbers has the probability that a density p gives to its
unit cube, and for any density q of fractions u in [0, 1)

  ln P(v) >= E_q [ln p(v + u) - ln q(u | v)].

With u = g(e; v) for uniform e, -ln q(u | v) = ln |du/de|: the bijection that
takes v + e to v + g(e; v) has just this log-det. So it stands first in a flow,
uniform noise goes in, and the flow's log-density of v + e is the bound. (Ho et
al. 2019, Flow++, equation 12; g = identity is uniform dequantization.)
"""

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import Bijection, at_least_float32


class Dequantization(Bijection):
  """Moves the fractions of x * levels by a flow that sees the whole parts.

  x = (v + u) / levels with whole v becomes (v + g(u; v)) / levels; log_det is
  that of g. Fractions stay inside (0, 1), by rounding if need be.

  Attributes:
    flow: g, of fractions less 1/2. It must map [-1/2, 1/2] onto itself in each
      number, as `SplineCoupling` with bound 1/2 and permutations do.
    features: a network from v, scaled to [-1, 1], to the condition of `flow`;
      None hands v on as it is.
    levels: how many whole numbers there are, 256 in 8 bits.
  """

  flow: Bijection
  features: nn.Module | None = None
  levels: int = 256

  def forward(self, x, cond=None):
    return self._run("forward", x)

  def inverse(self, z, cond=None):
    return self._run("inverse", z)

  def _run(self, direction, x):
    x = x.astype(at_least_float32(x.dtype)) * self.levels
    whole = jnp.floor(x)
    seen = 2 * whole / self.levels - 1
    if self.features is not None:
      seen = self.features(seen)
    moved, log_det = getattr(self.flow, direction)(x - whole - 0.5, seen)
    # Nearer to a whole number, the sum with v would round to it.
    margin = 4 * self.levels * jnp.finfo(x.dtype).eps
    fraction = jnp.clip(moved + 0.5, margin, 1 - margin)
    return (whole + fraction) / self.levels, log_det
