"""A condition network, and a bijection conditioned on its features."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from cinn_jax.bijections import Bijection
from cinn_jax.bijections.base import (
  Array,
  Condition,
  PyTree,
  at_least_float32,
)
from cinn_jax.models.networks.additions import picture_of
from cinn_jax.models.sizes import check_picture, check_size


class ConditionalFlow(Bijection):
  """`bijection`, conditioned on the features of `condition_net(cond)`.

  The network runs once per call, and once per image if the call is mapped over
  latents alone. Its parameters are under "condition_net", the flow's under
  "bijection"; the optimizer's groups go by these names.

  Attributes:
    bijection: Receives the features as its condition.
    condition_net: Network from the task's condition to features; None passes
      the condition on as it is.
    multiple: Heights and widths of the data must be multiples of this number.
    additions: Adds features of a classifier and hints to the network's, see
      `Additions`; None takes a condition without them.
    dim: Length of the vectors that it is for; None for other data.
  """

  bijection: Bijection
  condition_net: nn.Module | None = None
  multiple: int = 1
  additions: nn.Module | None = None
  dim: int | None = None

  def features(self, cond: Condition) -> PyTree:
    """Returns the features that the bijection is conditioned on."""
    if self.condition_net is None:
      return cond
    if self.additions is None:
      return widen(self.condition_net(cond))
    own = self.condition_net(picture_of(cond))
    return widen(self.additions(cond, own))

  def forward(self, x: Array, cond: Condition = None) -> tuple[PyTree, Array]:
    if self.multiple > 1:
      check_size(x.shape, self.multiple, "This flow")
    if self.dim is not None and x.shape[1:] != (self.dim,):
      raise ValueError(
        f"This flow is for vectors [B, {self.dim}], got shape {x.shape}: pass"
        " their length to vector_flow."
      )
    return self.bijection.forward(x, self.features(cond))

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[Array, Array]:
    return self.bijection.inverse(z, self.features(cond))


class PictureFlow(Bijection):
  """`bijection` of pictures, conditioned on features of a picture of any size.

  `condition_net(cond, size)` also receives the height and width of the data.

  Attributes:
    bijection: Receives the features as its condition.
    condition_net: Network from the task's condition to features.
    multiple: Heights and widths of the data must be multiples of this number.
    title: Model name used in error messages.
    finest: Height of the data divided by that of the finest latent.
    additions: See `ConditionalFlow`.
  """

  bijection: Bijection
  condition_net: nn.Module
  multiple: int
  title: str
  finest: int = 2
  additions: nn.Module | None = None

  def features(self, cond: Condition, size: Sequence[int]) -> PyTree:
    """Returns the features for data of size [H, W]."""
    check_picture(cond, f"This {self.title}")
    own = self.condition_net(cond, size)
    if self.additions is not None:
      own = self.additions(cond, own)
    return widen(own)

  def forward(self, x: Array, cond: Condition = None) -> tuple[PyTree, Array]:
    check_size(x.shape, self.multiple, f"This {self.title}")
    return self.bijection.forward(x, self.features(cond, x.shape[1:3]))

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[Array, Array]:
    size = [self.finest * side for side in z[0].shape[1:3]]
    return self.bijection.inverse(z, self.features(cond, size))


def widen(features: PyTree) -> PyTree:
  """Casts to at least float32; the gradients of all couplings add up there."""
  return jax.tree.map(
    lambda leaf: leaf.astype(at_least_float32(leaf.dtype)), features
  )
