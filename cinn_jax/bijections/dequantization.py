"""Variational dequantization: learned fractions for whole numbers.

A picture v of whole numbers has the probability that a density p assigns to its
unit cube. For any density q of fractions u in [0, 1),

  ln P(v) >= E_q [ln p(v + u) - ln q(u | v)].

With u = g(e; v) for uniform e, -ln q(u | v) = ln |du/de|, which is the log-det
of the bijection that maps v + e to v + g(e; v). So if that bijection comes
first in a flow and uniform noise is its input, the flow's log-density of v + e
is the bound. (Ho et al. 2019, Flow++, equation 12; g = identity is uniform
dequantization.)
"""

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
)


class Dequantization(Bijection):
  """Moves the fractions of x * levels by a flow that sees the whole parts.

  x = (v + u) / levels with whole v becomes (v + g(u; v)) / levels; log_det is
  that of g. Fractions stay inside (0, 1), rounded if necessary.

  Attributes:
    flow: g, as a map of fractions minus 1/2. It must map [-1/2, 1/2] onto
      itself in each number, as `SplineCoupling` with bound 1/2 and permutations
      do.
    features: A network from v, scaled to [-1, 1], to the condition of `flow`.
      None passes v itself.
    levels: Number of whole numbers, 256 for 8 bits.
  """

  flow: Bijection
  features: nn.Module | None = None
  levels: int = 256

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run("forward", x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run("inverse", z)

  def _run(self, direction: str, x: Array) -> tuple[Array, Array]:
    x = x.astype(at_least_float32(x.dtype)) * self.levels
    whole = jnp.floor(x)
    context = 2 * whole / self.levels - 1
    if self.features is not None:
      context = self.features(context)
    output, log_det = getattr(self.flow, direction)(x - whole - 0.5, context)
    # Closer to a whole number, the sum with v would round to it.
    margin = 4 * self.levels * jnp.finfo(x.dtype).eps
    fraction = jnp.clip(output + 0.5, margin, 1 - margin)
    return (whole + fraction) / self.levels, log_det
