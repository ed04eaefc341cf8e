"""Multi-scale flows: some of the channels leave after each stage."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  PyTree,
  zero_log_det,
)


class Split(Bijection):
  """Splits the channels in two: x to (emitted, rest); log_det is 0.

  Attributes:
    emit: Number of channels that leave the flow here as latents.
    side: Position of those channels, "first" or "last".
  """

  emit: int
  side: str = "last"

  def forward(
    self, x: Array, cond: Condition = None
  ) -> tuple[tuple[Array, Array], Array]:
    channels = x.shape[-1]
    if not 0 < self.emit < channels:
      raise ValueError(
        f"Split emits {self.emit} channels, but the data have {channels}:"
        f" choose 1 to {channels - 1}."
      )
    if self.side == "first":
      emitted, rest = jnp.split(x, [self.emit], axis=-1)
    elif self.side == "last":
      rest, emitted = jnp.split(x, [channels - self.emit], axis=-1)
    else:
      raise ValueError(f"side must be 'first' or 'last', got {self.side!r}.")
    return (emitted, rest), zero_log_det(x)

  def inverse(
    self, z: tuple[Array, Array], cond: Condition = None
  ) -> tuple[Array, Array]:
    emitted, rest = z
    parts = [emitted, rest] if self.side == "first" else [rest, emitted]
    return jnp.concatenate(parts, -1), zero_log_det(z)


class MultiScale(Bijection):
  """Stages with a split between them: x to a tuple of latents, finest first.

  Stage k transforms what the splits before it kept. The whole output of the
  last stage is the last latent. (Dinh et al. 2017, section 3.6.)

  Attributes:
    stages: n bijections.
    splits: n - 1 bijections from an array to (emitted, rest).
  """

  stages: Sequence[Bijection]
  splits: Sequence[Bijection]

  def setup(self) -> None:
    if len(self.splits) != len(self.stages) - 1:
      raise ValueError(
        f"{len(self.stages)} stages need {len(self.stages) - 1} splits"
        f" between them, got {len(self.splits)}."
      )

  def forward(
    self, x: PyTree, cond: Condition = None
  ) -> tuple[tuple[PyTree, ...], Array]:
    latents = []
    total = zero_log_det(x)
    for k, stage in enumerate(self.stages):
      x, log_det = stage.forward(x, cond)
      total += log_det
      if k < len(self.splits):
        (emitted, x), log_det = self.splits[k].forward(x, cond)
        total += log_det
        latents.append(emitted)
    return (*latents, x), total

  def inverse(
    self, z: Sequence[PyTree], cond: Condition = None
  ) -> tuple[PyTree, Array]:
    if len(z) != len(self.stages):
      raise ValueError(
        f"This flow has {len(self.stages)} levels of latents, got {len(z)}."
      )
    *latents, x = z
    total = zero_log_det(jax.tree.leaves(z))
    for k in reversed(range(len(self.stages))):
      if k < len(self.splits):
        x, log_det = self.splits[k].inverse((latents[k], x), cond)
        total += log_det
      x, log_det = self.stages[k].inverse(x, cond)
      total += log_det
    return x, total
