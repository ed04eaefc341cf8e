"""The contract of a bijection, and the ways to combine bijections.

`forward` goes from data to latent. Both directions return `(output, log_det)`
with `log_det` of shape [B]: the natural logarithm of the absolute determinant
of the Jacobian of *the direction that ran*, so that `inverse` returns minus
what `forward` returned. It is float32 whatever a subnet computes in (float64
when the data are float64). Data are [B, ..., C], channels last.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array
# A condition is a pytree of arrays [B, ...], or None.
PyTree = Any
Condition = PyTree

# Collections a bijection may own beside "params": fixed matrices and
# permutations; running statistics; what couplings report about themselves.
COLLECTIONS = ("constants", "batch_stats", "diagnostics")
# Collections that `forward` may fill for those who ask, and nobody keeps: the
# last one above; and -ln p of what a model describes beside x, such as its
# condition: [B], in nats per number of that, weighted as the loss adds it.
REPORTS = ("diagnostics", "auxiliary_losses")


class Bijection(nn.Module):
  """An invertible Flax module; see the head of this file for the contract."""

  def forward(self, x, cond=None):
    """Data to latent: returns `(z, log_det [B])`."""
    raise NotImplementedError(f"{type(self).__name__}.forward")

  def inverse(self, z, cond=None):
    """Latent to data: returns `(x, log_det [B])`, minus forward's."""
    raise NotImplementedError(f"{type(self).__name__}.inverse")

  def __call__(self, x, cond=None):
    return self.forward(x, cond)


def at_least_float32(dtype):
  """The precision of affine heads and log-determinants for data of `dtype`."""
  return jnp.promote_types(dtype, jnp.float32)


def zero_log_det(x):
  """The log-det [B] of a volume-preserving map of `x` (array or tuple)."""
  first = jax.tree.leaves(x)[0]
  return jnp.zeros(first.shape[0], at_least_float32(first.dtype))


def sum_per_example(values):
  """Sums [B, ...] to [B] in at least float32."""
  axes = tuple(range(1, values.ndim))
  return jnp.sum(values, axes, dtype=at_least_float32(values.dtype))


def per_channel(vector, x):
  """Reshapes [C] so that it broadcasts against `x` [B, ..., C]."""
  return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def channels_log_det(log_scale, x):
  """The log-det [B] of scaling the channels of `x` by exp(log_scale) [C]."""
  positions = math.prod(x.shape[1:-1])
  return zero_log_det(x) + positions * jnp.sum(log_scale)


def check_image(x, owner, *, even=False):
  """Raises ValueError unless `x` is [B, H, W, C] (with even H and W)."""
  if x.ndim != 4:
    raise ValueError(f"{owner} takes images [B, H, W, C], got shape {x.shape}.")
  if even and (x.shape[1] % 2 or x.shape[2] % 2):
    raise ValueError(
      f"{owner} halves height and width, which must be even; got shape"
      f" {x.shape}: crop or resize the images."
    )


class Chain(Bijection):
  """Applies `parts` in list order going forward, in reverse going back.

  Every part sees the same `cond`; wrap a part in `Conditioned` to give it one
  entry of it.
  """

  parts: Sequence[Bijection]

  def forward(self, x, cond=None):
    total = zero_log_det(x)
    for part in self.parts:
      x, log_det = part.forward(x, cond)
      total += log_det
    return x, total

  def inverse(self, z, cond=None):
    total = zero_log_det(z)
    for part in reversed(self.parts):
      z, log_det = part.inverse(z, cond)
      total += log_det
    return z, total


class Inverse(Bijection):
  """`bijection` with its two directions exchanged."""

  bijection: Bijection

  def forward(self, x, cond=None):
    return self.bijection.inverse(x, cond)

  def inverse(self, z, cond=None):
    return self.bijection.forward(z, cond)


class Conditioned(Bijection):
  """Gives `bijection` its own view of the condition.

  Attributes:
    bijection: what runs.
    key: the entry of the condition (a dict's key, a tuple's index) that it
      sees; None hides the condition from it.
    head: an optional network on that entry, owned by this bijection alone, as
      in the ImageNet cINN (Ardizzone et al. 2019). It sees the condition only,
      so sampling many latents for one image runs it once.
  """

  bijection: Bijection
  key: Hashable
  head: nn.Module | None = None

  def _view(self, cond: Any):
    if self.key is None:
      return None
    try:
      entry = cond[self.key]
    except (TypeError, KeyError, IndexError):
      has = sorted(cond) if isinstance(cond, dict) else type(cond).__name__
      raise ValueError(
        f"This bijection takes the condition's entry {self.key!r}, but the"
        f" condition is {has}: pass a dict or tuple that has that entry."
      ) from None
    return entry if self.head is None else self.head(entry)

  def forward(self, x, cond=None):
    return self.bijection.forward(x, self._view(cond))

  def inverse(self, z, cond=None):
    return self.bijection.inverse(z, self._view(cond))
