"""The bijection from a target's latents to z, given a condition's latents."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinn_jax.bijections import Bijection, Squeeze
from cinn_jax.bijections.base import (
  Array,
  Condition,
  PyTree,
  zero_log_det,
)


class LatentFlows(Bijection):
  """Takes a tuple of latents L to a tuple z, scale by scale, given the D_k.

  L_k goes through a chain of blocks, G_k. The first, `own[k]`, is conditioned
  on D_k alone. If there are `others`, one block per coarser scale m > k
  follows, conditioned on (L_m, D_m). After each block but that of the coarsest
  scale, the first half of the channels leaves as z_(k, m), and the second half
  goes on. So L_k depends on its own D_k and on everything coarser.

  z is in the order of (k, m): z_00, z_01, ..., z_11, z_12, ..., finest first.
  Without `others` it is z_00, z_11, ...

  Both directions visit each scale once, and run all the G_k that pass it:
  forward from the finest scale, since all L are known; inverse from the
  coarsest, since L_m is known once `own[m]` is inverted.

  Attributes:
    own: One bijection per scale.
    others: Empty, or one bijection of tuples for each scale but the finest:
      `SeparateBlocks` or `SharedBlock`. Its tuple has one entry per finer k,
      finest first.
  """

  own: Sequence[Bijection]
  others: Sequence[Bijection] = ()

  def setup(self) -> None:
    if self.others and len(self.others) != len(self.own) - 1:
      raise ValueError(
        f"{len(self.own)} scales have {len(self.own) - 1} coarser ones than"
        f" the finest, got {len(self.others)} others."
      )

  def keys(self) -> list[tuple[int, int]]:
    """Returns the (k, m) of each entry of z, in order."""
    scales = range(len(self.own))
    return [
      (k, m)
      for k in scales
      for m in scales
      if m == k or (self.others and m > k)
    ]

  def forward(
    self, x: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    """Returns `(z, log_det [B])`; `cond` has a tuple (D_k, ...) per scale."""
    total = zero_log_det(x)
    halves_leave = bool(self.others)
    latents: dict[tuple[int, int], Array] = {}
    passing: tuple[Array, ...] = ()
    for m, (latent, given) in enumerate(zip(x, cond, strict=True)):
      own, log_det = self.own[m].forward(latent, given)
      total += log_det
      if passing:
        coarser = (latent, *given)
        passing, log_det = self.others[m - 1].forward(passing, coarser)
        total += log_det
      passing = (*passing, own)
      first = m + 1 - len(passing)
      keys = [(k, m) for k in range(first, m + 1)]
      if halves_leave and m < len(self.own) - 1:
        halves = [jnp.split(entry, 2, axis=-1) for entry in passing]
        emitted, passing = zip(*halves, strict=True)
      else:
        emitted, passing = passing, ()
      latents.update(zip(keys, emitted, strict=True))
    return tuple(latents[key] for key in self.keys()), total

  def inverse(
    self, z: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    """Returns the tuple L and its log_det [B]."""
    keys = self.keys()
    if len(z) != len(keys):
      raise ValueError(f"This flow has {len(keys)} latents, got {len(z)}.")
    latents = dict(zip(keys, z, strict=True))
    total = zero_log_det(z)
    x: list[Array] = []
    passing: Sequence[Array] = ()
    for m in reversed(range(len(self.own))):
      emitted = [latents[key] for key in keys if key[1] == m]
      if passing:
        halves = zip(emitted, passing, strict=True)
        emitted = [jnp.concatenate(both, -1) for both in halves]
      *finer, own = emitted
      latent, log_det = self.own[m].inverse(own, cond[m])
      total += log_det
      x.append(latent)
      passing = tuple(finer)
      if passing:
        coarser = (latent, *cond[m])
        passing, log_det = self.others[m - 1].inverse(passing, coarser)
        total += log_det
    return tuple(reversed(x)), total


class SeparateBlocks(Bijection):
  """Runs each entry of a tuple through its own bijection, given one condition.

  Attributes:
    parts: One bijection per entry.
  """

  parts: Sequence[Bijection]

  def forward(
    self, x: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    return self._run("forward", x, cond)

  def inverse(
    self, z: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    return self._run("inverse", z, cond)

  def _run(self, direction, values, cond):
    results = [
      getattr(part, direction)(value, cond)
      for part, value in zip(self.parts, values, strict=True)
    ]
    values, log_dets = zip(*results, strict=True)
    return values, sum(log_dets)


class SharedBlock(Bijection):
  """Runs a tuple of arrays of one shape through one bijection, in one call.

  The arrays are interleaved along the batch axis, and the condition is
  repeated: CAFLOW's "shortcut".

  Attributes:
    bijection: The bijection of all entries.
  """

  bijection: Bijection

  def forward(
    self, x: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    return self._run("forward", x, cond)

  def inverse(
    self, z: Sequence[Array], cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    return self._run("inverse", z, cond)

  def _run(self, direction, values, cond):
    count = len(values)
    # The entries of one image are neighbours, so they stay on its device.
    batch = jnp.stack(values, axis=1)
    batch = batch.reshape(-1, *batch.shape[2:])
    cond = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), cond)
    result, log_det = getattr(self.bijection, direction)(batch, cond)
    result = result.reshape(-1, count, *result.shape[1:])
    values = tuple(result[:, k] for k in range(count))
    return values, jnp.sum(log_det.reshape(-1, count), axis=1)


class Squeezed(Bijection):
  """Squeezes data and condition alike, then runs `bijection` on them."""

  bijection: Bijection

  def setup(self) -> None:
    self.squeeze = Squeeze(order="channel")

  def forward(self, x: Array, cond: Condition = None) -> tuple[PyTree, Array]:
    x, _ = self.squeeze.forward(x)
    return self.bijection.forward(x, self._squeeze_leaves(cond))

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[Array, Array]:
    x, log_det = self.bijection.inverse(z, self._squeeze_leaves(cond))
    return self.squeeze.inverse(x)[0], log_det

  def _squeeze_leaves(self, cond):
    return jax.tree.map(lambda leaf: self.squeeze.forward(leaf)[0], cond)
