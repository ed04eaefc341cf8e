"""Variational dequantization for models of pictures (Ho et al. 2019)."""

import functools
from typing import Any

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


class WholeFeatures(nn.Module):
  """What a picture's whole numbers say, at half its resolution.

  Attributes:
    channels: of the features.
  """

  channels: int

  @nn.compact
  def __call__(self, picture):
    """[B, H, W, C] in [-1, 1] to [B, H/2, W/2, channels]."""
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
  dtype: Any = None,
) -> bj.Dequantization:
  """Spline couplings of the fractions of x * levels, of even height and width.

  At the start they shuffle the fractions among a picture's neighbours, which is
  uniform dequantization still.

  Departure: Flow++ makes fractions by a flow on the real line and a sigmoid.
  Splines map the unit interval onto itself, so no fraction has a far latent
  and none is rounded away.

  Args:
    depth: couplings, of the squeezed picture's channels.
    hidden: width of their networks, and of the features of the whole numbers.
    bins: of a spline.
    levels: whole numbers per channel of the picture.
    memory: see `bijections.Stack`.
    dtype: of the couplings' networks, see `Subnet`.
  """
  net = functools.partial(Subnet, widths=(hidden,), kernels=(3, 1), dtype=dtype)
  coupling = bj.SplineCoupling(net, bins=bins, bound=0.5)
  steps = bj.Stack(bj.Chain((bj.Permutation(), coupling)), depth, memory)
  flow = bj.Chain((bj.Squeeze(), steps, bj.Inverse(bj.Squeeze())))
  return bj.Dequantization(flow, WholeFeatures(hidden), levels)
