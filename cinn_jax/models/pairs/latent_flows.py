"""The law of a target's latents given a condition's, scale by scale."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinn_jax.bijections import Bijection, Squeeze
from cinn_jax.bijections.base import zero_log_det


class LatentFlows(Bijection):
  """A tuple of latents L to a tuple z, scale by scale, given (D_k, ...).

  L_k is taken through a chain of blocks, G_k: `own[k]`, conditioned on D_k
  alone, and then, where there are `others`, one block per coarser scale m > k,
  conditioned on (L_m, D_m). After each block but that of the coarsest scale
  the first half of the channels leaves as z_(k, m), and the second half goes
  on. So L_k depends on its own D_k and on all that is coarser.

  z is in the order of (k, m): z_00, z_01, ..., z_11, z_12, ..., finest first;
  without `others` it is z_00, z_11, ...

  Both directions go through the scales once, and handle at each all the G_k
  that pass it: forward from the finest, since all L are known; backward from
  the coarsest, since L_m is known once `own[m]` is inverted.

  Attributes:
    own: one bijection per scale.
    others: nothing, or per scale but the finest a bijection of tuples, one
      entry for each finer k, finest first: `Separate` or `Shared`.
  """

  own: Sequence[Bijection]
  others: Sequence[Bijection] = ()

  def setup(self):
    if self.others and len(self.others) != len(self.own) - 1:
      raise ValueError(
        f"{len(self.own)} scales have {len(self.own) - 1} coarser ones than"
        f" the finest, got {len(self.others)} others."
      )

  def keys(self):
    """(k, m) of each entry of z, in their order."""
    scales = range(len(self.own))
    return [
      (k, m)
      for k in scales
      for m in scales
      if m == k or (self.others and m > k)
    ]

  def forward(self, x, cond=None):
    total = zero_log_det(x)
    halved = bool(self.others)
    latents, passing = {}, ()
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
      if halved and m < len(self.own) - 1:
        halves = [jnp.split(entry, 2, axis=-1) for entry in passing]
        emitted, passing = zip(*halves, strict=True)
      else:
        emitted, passing = passing, ()
      latents.update(zip(keys, emitted, strict=True))
    return tuple(latents[key] for key in self.keys()), total

  def inverse(self, z, cond=None):
    keys = self.keys()
    if len(z) != len(keys):
      raise ValueError(f"This flow has {len(keys)} latents, got {len(z)}.")
    latents = dict(zip(keys, z, strict=True))
    total = zero_log_det(z)
    x, passing = [], None
    for m in reversed(range(len(self.own))):
      emitted = [latents[key] for key in keys if key[1] == m]
      if passing is None:
        passing = emitted
      else:
        halves = zip(emitted, passing, strict=True)
        passing = [jnp.concatenate(both, -1) for both in halves]
      *passing, own = passing
      latent, log_det = self.own[m].inverse(own, cond[m])
      total += log_det
      x.append(latent)
      if passing:
        coarser = (latent, *cond[m])
        passing, log_det = self.others[m - 1].inverse(tuple(passing), coarser)
        total += log_det
      passing = passing or None
    return tuple(reversed(x)), total


class Separate(Bijection):
  """A tuple, each entry through its own bijection, all given one condition."""

  parts: Sequence[Bijection]

  def forward(self, x, cond=None):
    return self._run("forward", x, cond)

  def inverse(self, z, cond=None):
    return self._run("inverse", z, cond)

  def _run(self, direction, values, cond):
    results = [
      getattr(part, direction)(value, cond)
      for part, value in zip(self.parts, values, strict=True)
    ]
    values, log_dets = zip(*results, strict=True)
    return values, sum(log_dets)


class Shared(Bijection):
  """A tuple of arrays of one shape, all through one bijection in one call.

  They are laid beside each other on the batch axis, and the condition is
  repeated: CAFLOW's "shortcut".
  """

  bijection: Bijection

  def forward(self, x, cond=None):
    return self._run("forward", x, cond)

  def inverse(self, z, cond=None):
    return self._run("inverse", z, cond)

  def _run(self, direction, values, cond):
    count = len(values)
    # An image's entries are neighbours, so that they stay on its device.
    beside = jnp.stack(values, axis=1)
    beside = beside.reshape(-1, *beside.shape[2:])
    cond = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), cond)
    result, log_det = getattr(self.bijection, direction)(beside, cond)
    result = result.reshape(-1, count, *result.shape[1:])
    values = tuple(result[:, k] for k in range(count))
    return values, jnp.sum(log_det.reshape(-1, count), axis=1)


class Squeezed(Bijection):
  """Squeezes data and condition alike, then runs `bijection` on them."""

  bijection: Bijection

  def setup(self):
    self.squeeze = Squeeze(order="channel")

  def forward(self, x, cond=None):
    x, _ = self.squeeze.forward(x)
    return self.bijection.forward(x, self._squeezed(cond))

  def inverse(self, z, cond=None):
    x, log_det = self.bijection.inverse(z, self._squeezed(cond))
    return self.squeeze.inverse(x)[0], log_det

  def _squeezed(self, cond):
    return jax.tree.map(lambda leaf: self.squeeze.forward(leaf)[0], cond)
