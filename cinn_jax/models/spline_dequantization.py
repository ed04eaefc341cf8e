"""Variational dequantization for models of pictures (Ho et al. 2019)."""

import functools

import flax.linen as nn
from jax.typing import DTypeLike

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Array
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


class WholeFeatures(nn.Module):
  """Features of a picture's whole numbers, at half its resolution.

  Attributes:
    channels: Number of features.
  """

  channels: int

  @nn.compact
  def __call__(self, picture: Array) -> Array:
    """Maps [B, H, W, C] in [-1, 1] to [B, H/2, W/2, channels]."""
    layer = functools.partial(
      nn.Conv, self.channels, conv_general_dilated=conv_general_dilated
    )
    hidden = nn.relu(layer((2, 2), (2, 2))(picture))
    return nn.relu(layer((3, 3))(hidden))


def dequantization(
  *,
  depth: int = 4,
  hidden: int = 32,
  bins: int = 8,
  levels: int = 256,
  memory: str = "store",
  dtype: DTypeLike | None = None,
) -> bj.Dequantization:
  """Builds spline couplings of the fractional parts of x * levels.

  Pictures have even height and width. At the start the couplings only shuffle
  the fractions among neighbouring pixels, which is still uniform
  dequantization.

  Departure: Flow++ makes the fractions by a flow on the real line and a
  sigmoid. Splines map the unit interval onto itself, so no fraction has a
  distant latent and none is rounded away.

  Args:
    depth: Number of couplings, of the squeezed picture's channels.
    hidden: Width of their networks, and number of features of the whole
      numbers.
    bins: Number of bins of a spline.
    levels: Number of whole numbers per channel of the picture.
    memory: Memory policy, see `bijections.Stack`.
    dtype: Precision of the couplings' networks, see `Subnet`.
  """
  net = functools.partial(Subnet, widths=(hidden,), kernels=(3, 1), dtype=dtype)
  coupling = bj.SplineCoupling(net, bins=bins, bound=0.5)
  steps = bj.Stack(bj.Chain((bj.Permutation(), coupling)), depth, memory)
  flow = bj.Chain((bj.Squeeze(), steps, bj.Inverse(bj.Squeeze())))
  return bj.Dequantization(flow, WholeFeatures(hidden), levels)
