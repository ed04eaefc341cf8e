"""PatchGAN, a discriminator that judges patches (Isola et al. 2017)."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import Array
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
  """Scores of overlapping patches of a picture, given its condition.

  Departures from pix2pix: no normalisation, since the penalty on gradients is
  meant for a network without (Mescheder et al. 2018).

  Attributes:
    widths: Number of channels of the 4x4 convolutions of stride 2. Each doubles
      the patches; a 3x3 convolution makes their scores.
  """

  widths: Sequence[int]

  @nn.compact
  def __call__(self, x: Array, cond: Array) -> Array:
    """Maps x [B, H, W, C] and its condition to scores [B, h, w].

    The condition is a vector [B, c], or a picture [B, H, W, c] of x's size.
    """
    if cond.ndim == 2:
      cond = jnp.broadcast_to(
        cond[:, None, None], (*x.shape[:3], cond.shape[-1])
      )
    hidden = jnp.concatenate([x, cond], -1)
    for width in self.widths:
      layer = nn.Conv(
        width,
        (4, 4),
        (2, 2),
        padding=((1, 1), (1, 1)),
        conv_general_dilated=conv_general_dilated,
      )
      hidden = nn.leaky_relu(layer(hidden), _SLOPE)
    last = nn.Conv(1, (3, 3), conv_general_dilated=conv_general_dilated)
    return last(hidden)[..., 0]
