"""The contract of a bijection, and ways to combine bijections.

`forward` goes from data to latent. Both directions return `(output, log_det)`
with `log_det` of shape [B]: the natural logarithm of the absolute determinant
of the Jacobian of *the direction that ran*, so `inverse` returns minus what
`forward` returned. It is float32 whatever precision a subnet computes in
(float64 for float64 data). Data are [B, ..., C], channels last.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Array = jax.Array
# A condition is a pytree of arrays [B, ...], or None.
PyTree = Any
Condition = PyTree
AnyArray = TypeVar("AnyArray", jax.Array, np.ndarray)

# Collections that a bijection may own in addition to "params": fixed matrices
# and permutations; running statistics; what couplings report about themselves.
COLLECTIONS = ("constants", "batch_stats", "diagnostics")
# Collections that `forward` sows on request and that are never saved:
# "diagnostics", as above, and "auxiliary_losses", -ln p of other inputs that a
# model describes, such as its condition: [B], in nats per number of that input,
# with its weight in the loss.
REPORTS = ("diagnostics", "auxiliary_losses")


class Bijection(nn.Module):
  """An invertible Flax module; the module docstring has its contract."""

  def forward(self, x: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    """Maps data to latent: returns `(z, log_det [B])`."""
    raise NotImplementedError(f"{type(self).__name__}.forward")

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    """Maps latent to data: returns `(x, log_det [B])`, minus forward's."""
    raise NotImplementedError(f"{type(self).__name__}.inverse")

  def __call__(self, x: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.forward(x, cond)

  @property
  def cheap_inverse(self) -> bool:
    """False if the inverse takes many times as long as forward."""
    return True


def at_least_float32(dtype: DTypeLike) -> np.dtype:
  """Returns the precision of affine heads and log-dets for data of `dtype`."""
  return jnp.promote_types(dtype, jnp.float32)


def zero_log_det(x: PyTree) -> Array:
  """Returns the log-det [B] of a volume-preserving map of `x`."""
  first = jax.tree.leaves(x)[0]
  return jnp.zeros(first.shape[0], at_least_float32(first.dtype))


def sum_per_example(values: Array) -> Array:
  """Sums [B, ...] to [B] in at least float32."""
  axes = tuple(range(1, values.ndim))
  return jnp.sum(values, axes, dtype=at_least_float32(values.dtype))


def per_channel(vector: AnyArray, x: Array) -> AnyArray:
  """Reshapes [C] so that it broadcasts against `x` [B, ..., C]."""
  return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def channels_log_det(log_scale: Array, x: Array) -> Array:
  """Returns the log-det [B] of scaling x's channels by exp(log_scale) [C]."""
  positions = math.prod(x.shape[1:-1])
  return zero_log_det(x) + positions * jnp.sum(log_scale)


def check_image(x: Array, owner: str, *, even: bool = False) -> None:
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

  Every part sees the same `cond`. Wrap a part in `Conditioned` to give it a
  single entry of the condition.
  """

  parts: Sequence[Bijection]

  @property
  def cheap_inverse(self) -> bool:
    return all(part.cheap_inverse for part in self.parts)

  def forward(self, x: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    total = zero_log_det(x)
    for part in self.parts:
      x, log_det = part.forward(x, cond)
      total += log_det
    return x, total

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    total = zero_log_det(z)
    for part in reversed(self.parts):
      z, log_det = part.inverse(z, cond)
      total += log_det
    return z, total


class Inverse(Bijection):
  """Swaps the two directions of `bijection`."""

  bijection: Bijection

  @property
  def cheap_inverse(self) -> bool:
    return self.bijection.cheap_inverse

  def forward(self, x: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.bijection.inverse(x, cond)

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.bijection.forward(z, cond)


class Conditioned(Bijection):
  """Gives `bijection` its own view of the condition.

  Attributes:
    bijection: The bijection to run.
    key: The entry of the condition that it sees (a dict's key or a tuple's
      index). None hides the condition from it.
    head: An optional network applied to that entry, owned by this bijection
      alone, as in the ImageNet cINN (Ardizzone et al. 2019). It sees only the
      condition, so it runs once when many latents are sampled for one image.
  """

  bijection: Bijection
  key: Hashable
  head: nn.Module | None = None

  @property
  def cheap_inverse(self) -> bool:
    return self.bijection.cheap_inverse

  def _view(self, cond: Condition) -> Condition:
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

  def forward(self, x: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.bijection.forward(x, self._view(cond))

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.bijection.inverse(z, self._view(cond))
