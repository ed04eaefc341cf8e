"""Couplings of tokens: one half of the positions steers the other.

Between couplings of channels they let positions change each other directly, as
in Jet (Kolesnikov et al. 2024).
"""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Chain,
  Condition,
  at_least_float32,
  check_image,
  sum_per_example,
)
from cinn_jax.bijections.conditions import check_condition, check_head
from cinn_jax.bijections.coupling import AffineCoupling
from cinn_jax.bijections.log_scales import report_log_scale
from cinn_jax.bijections.stack import Stack

# Splits of a grid, named after the tokens that steer. Those of "checkerboard"
# have an even sum of row and column, those of "rows" are in even rows.
PATTERNS = (
  "checkerboard",
  "checkerboard_odd",
  "rows",
  "rows_odd",
  "columns",
  "columns_odd",
)


def token_orders(height: int, width: int) -> np.ndarray:
  """Returns int32 [6, N]: for each pattern, tokens that steer, then the others.

  Both halves are in raster order. Token i of one is next to token i of the
  other.
  """
  rows, columns = np.indices((height, width)).reshape(2, -1)
  is_steered = [
    (index + odd) % 2
    for index in (rows + columns, rows, columns)
    for odd in (0, 1)
  ]
  orders = [np.argsort(each, kind="stable") for each in is_steered]
  return np.asarray(orders, np.int32)


class SpatialCoupling(AffineCoupling):
  """One-sided affine coupling of two halves of the tokens, with all channels.

  The network sees the N/2 tokens of one half, [B, N/2, C], and returns scales
  and shifts for the other: output i is for token i of the other half. Maps of
  the condition are given to it at both places, [B, N/2, 2 Cc]. A network that
  embeds positions embeds such pairs, so it knows both. (Jet, Kolesnikov et al.
  2024.)

  The pattern is kept as a constant, so copies in a scanned stack may differ.

  Attributes:
    sides: Must be 1.
    pattern: One of `PATTERNS`.
  """

  sides: int = 1
  pattern: str = PATTERNS[0]

  def setup(self) -> None:
    super().setup()
    if self.sides != 1 or self.pattern not in PATTERNS:
      raise ValueError(
        f"SpatialCoupling has 1 side, and a pattern of {', '.join(PATTERNS)};"
        f" got {self.sides}, {self.pattern!r}."
      )
    number = PATTERNS.index(self.pattern)
    self.split = self.variable("constants", "split", jnp.int32, number)

  def _run(
    self, value: Array, cond: Condition, *, inverse: bool
  ) -> tuple[Array, Array]:
    check_image(value, "SpatialCoupling", even=True)
    check_condition(value, cond)
    value = value.astype(at_least_float32(value.dtype))
    orders = jnp.asarray(token_orders(*value.shape[1:3]))
    order = orders[self.split.value]

    def halves(maps):
      tokens = maps.reshape(len(maps), -1, maps.shape[-1])
      return jnp.split(jnp.take(tokens, order, axis=1), 2, axis=1)

    def at_both(leaf):
      return leaf if leaf.ndim == 2 else jnp.concatenate(halves(leaf), -1)

    passive, active = halves(value)
    features = self.features(value.shape[-1])
    head = self.net_1(passive, jax.tree.map(at_both, cond), features)
    check_head(head, active, features)
    active, log_scale = self.transform(
      active, head.astype(value.dtype), inverse=inverse
    )
    report_log_scale(self, log_scale)
    log_det = sum_per_example(log_scale)
    tokens = jnp.concatenate([passive, active], 1)
    result = jnp.take(tokens, jnp.argsort(order), axis=1).reshape(value.shape)
    return result, -log_det if inverse else log_det


class SpatialStack(Stack):
  """A `Stack` whose copies split the tokens by the `PATTERNS` in turn.

  Its block is a `Chain` whose last part is a `SpatialCoupling`. The pattern of
  that part is the first copy's.
  """

  def setup(self) -> None:
    super().setup()
    if not self.scanned or self._coupling(self.block) is None:
      raise ValueError(
        "SpatialStack scans a Chain that ends in a SpatialCoupling."
      )

  def _scan(
    self, direction: str, block: Bijection, x: Array, cond: Condition
  ) -> tuple[Array, Array]:
    coupling = self._coupling(block)
    if coupling is not None and self.is_initializing():
      # The scan takes them from here, in place of making equal ones.
      first = PATTERNS.index(coupling.pattern)
      numbers = (first + jnp.arange(self.depth)) % len(PATTERNS)
      coupling.put_variable("constants", "split", numbers)
    return super()._scan(direction, block, x, cond)

  def _coupling(self, block: Bijection) -> SpatialCoupling | None:
    last = block.parts[-1] if isinstance(block, Chain) else None
    return last if isinstance(last, SpatialCoupling) else None
