"""Two multi-scale flows, and the law of one's latents given the other's.

A condition image Y and a target W are encoded, each by its own unconditional
flow, into latents per scale: Y to D_k, W to L_k, k = 0 the finest. A third
bijection takes the L to standard normal z, given the D:

  ln p(W | Y) = ln N(z; 0, I) + ln|dz/dL| + ln|dL/dW|

CAFLOW, Dual-Glow+ and Dual-Glow differ in that third part alone.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinn_jax import likelihood
from cinn_jax.bijections import Bijection, Squeeze
from cinn_jax.bijections.base import zero_log_det
from cinn_jax.models.sizes import check_size


class PairedFlow(Bijection):
  """x [B, H, W, C] to a tuple of latents, given an image of the same size.

  The condition is encoded once per call, and once per image when latents alone
  are mapped over. `forward` sows the condition's own likelihood under
  "auxiliary_losses": -ln p(Y) in nats per number of Y, times
  `condition_weight`, as [B]. It is no part of ln p(W | Y).

  Attributes:
    target_flow: W to the tuple of L_k, finest first.
    condition_flow: Y to the tuple of D_k.
    latent_flows: the L to z; its condition is a tuple per scale of (D_k,), or
      (D_k, side_k) where there is side information.
    condition_weight: lambda; 0 trains the condition's flow by the target alone.
    condition_channels: how many of the condition's channels, first ones first,
      `condition_flow` models. The others, such as a mask, are side
      information: averaged over 2^k x 2^k pixels and squeezed to the size of
      D_k, so that the finest scale has them exactly.
    multiple: what heights and widths are multiples of.
    title: who refuses other sizes.
  """

  target_flow: Bijection
  condition_flow: Bijection
  latent_flows: Bijection
  condition_weight: float
  condition_channels: int
  multiple: int
  title: str

  def setup(self):
    self.squeeze = Squeeze(order="channel")

  def forward(self, x, cond=None):
    check_size(x.shape, self.multiple, self.title)
    given, log_prob = self._encode(cond, x.shape)
    self._sow_condition(log_prob, self.condition_weight)
    latents, log_det = self.target_flow.forward(x)
    z, latent_log_det = self.latent_flows.forward(latents, given)
    return z, log_det + latent_log_det

  def inverse(self, z, cond=None):
    given, _ = self._encode(cond)
    latents, latent_log_det = self.latent_flows.inverse(z, given)
    x, log_det = self.target_flow.inverse(latents)
    return x, log_det + latent_log_det

  def unconditional(self, x, cond):
    """Both flows by themselves, for pretraining: the L with their log_det.

    Scored by N(0, I) that is ln p(W). The condition's ln p(Y) is sown as by
    `forward`, with a weight of 1.
    """
    self._sow_condition(self._encode(cond, x.shape)[1], 1.0)
    return self.target_flow.forward(x)

  def reconstruction_errors(self, x, cond):
    """Largest |x - inverse(forward(x))| per part and example: a dict of [B].

    In the images' units; "round_trip" is of the whole. That of the latent flows
    is what their error makes of x: the difference between what the target's
    flow decodes from L and from L as they give it back. It grows long before a
    sample shows that an inverse explodes.
    """
    colours, side = self._split(cond)
    encoded, _ = self.condition_flow.forward(colours)
    given = self._given(encoded, side)
    latents, _ = self.target_flow.forward(x)
    z, _ = self.latent_flows.forward(latents, given)
    again, _ = self.latent_flows.inverse(z, given)
    decoded, redecoded = (
      self.target_flow.inverse(each)[0] for each in (latents, again)
    )
    recoded, _ = self.condition_flow.inverse(encoded)
    return {
      "round_trip": _distance(redecoded, x),
      "target_flow": _distance(decoded, x),
      "condition_flow": _distance(recoded, colours),
      "latent_flows": _distance(redecoded, decoded),
    }

  def _split(self, cond):
    if getattr(cond, "ndim", None) != 4:
      raise ValueError(
        f"{self.title} takes a condition image [B, H, W, C], got"
        f" {getattr(cond, 'shape', type(cond).__name__)}."
      )
    if cond.shape[-1] < self.condition_channels:
      raise ValueError(
        f"{self.title} models {self.condition_channels} channels of"
        f" the condition, got shape {cond.shape}: set condition_channels to"
        " how many of them are an image."
      )
    check_size(cond.shape, self.multiple, self.title)
    return jnp.split(cond, [self.condition_channels], axis=-1)

  def _encode(self, cond, target_shape=None):
    """What conditions each scale, and ln p(Y) / dim Y as [B]."""
    colours, side = self._split(cond)
    if target_shape and cond.shape[1:3] != target_shape[1:3]:
      raise ValueError(
        f"{self.title} takes a condition of the target's size"
        f" {list(target_shape[1:3])}, got {list(cond.shape[1:3])}: enlarge it."
      )
    latents, log_det = self.condition_flow.forward(colours)
    nats = likelihood.log_prob(latents, log_det).total
    return self._given(latents, side), nats / math.prod(colours.shape[1:])

  def _given(self, latents, side):
    """(D_k,) per scale, or (D_k, side_k)."""
    if not side.shape[-1]:
      return tuple((latent,) for latent in latents)
    return tuple(
      (latent, self._side(side, 2**k)) for k, latent in enumerate(latents)
    )

  def _side(self, side, width):
    b, h, w, c = side.shape
    cells = side.reshape(b, h // width, width, w // width, width, c)
    return self.squeeze.forward(jnp.mean(cells, axis=(2, 4)))[0]

  def _sow_condition(self, log_prob, weight):
    if weight:
      self.sow("auxiliary_losses", "condition", -weight * log_prob)


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


class Halved(Bijection):
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


def _distance(a, b):
  return jnp.max(jnp.abs(a - b), axis=tuple(range(1, a.ndim)))
