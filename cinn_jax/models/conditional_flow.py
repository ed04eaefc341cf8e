"""A condition network and the bijection that its features steer."""

import flax.linen as nn
import jax

from cinn_jax.bijections import Bijection
from cinn_jax.bijections.base import at_least_float32
from cinn_jax.models.sizes import check_picture, check_size


class ConditionalFlow(Bijection):
  """`bijection`, conditioned on the features of `condition_net(cond)`.

  The network runs once per call, and once per image when latents alone are
  mapped over. Its parameters are under "condition_net", the flow's under
  "bijection": what trains at which rate is told apart by these names.

  Attributes:
    bijection: sees the features as its condition.
    condition_net: from the task's condition to features; None hands the
      condition on as it is.
    multiple: the height and width of the data must be multiples of it.
  """

  bijection: Bijection
  condition_net: nn.Module | None = None
  multiple: int = 1

  def features(self, cond):
    """What the bijection is conditioned on."""
    if self.condition_net is None:
      return cond
    return widened(self.condition_net(cond))

  def forward(self, x, cond=None):
    if self.multiple > 1:
      check_size(x.shape, self.multiple, "This flow")
    return self.bijection.forward(x, self.features(cond))

  def inverse(self, z, cond=None):
    return self.bijection.inverse(z, self.features(cond))


class PictureFlow(ConditionalFlow):
  """`bijection` of pictures, conditioned on features of a picture of any size.

  `condition_net(cond, size)` is told the height and width of the data, which
  going back are twice those of the finest latent.

  Attributes:
    title: who refuses pictures of other sizes.
  """

  title: str = "flow"

  def features(self, cond, size):
    """What a picture of that size, [H, W], is conditioned on."""
    check_picture(cond, f"This {self.title}")
    return widened(self.condition_net(cond, size))

  def forward(self, x, cond=None):
    check_size(x.shape, self.multiple, f"This {self.title}")
    return self.bijection.forward(x, self.features(cond, x.shape[1:3]))

  def inverse(self, z, cond=None):
    size = [2 * side for side in z[0].shape[1:3]]
    return self.bijection.inverse(z, self.features(cond, size))


def widened(features):
  """In at least float32: the gradients of all couplings add up in them."""
  return jax.tree.map(
    lambda leaf: leaf.astype(at_least_float32(leaf.dtype)), features
  )
