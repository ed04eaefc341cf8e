"""A cINN for RGB pictures of any size, given a picture.

Not a published network: the parts of the colorization cINNs (Ardizzone et al.
2019) put together for whole pictures. It has no dense part, so one set of
parameters serves every size that its levels can halve.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import PictureFlow
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named

# Of numbers in [0, 1), roughly.
_MEAN, _STD = 0.5, 0.25


def image_cinn(
  *,
  hidden: Sequence[int] = (64, 96, 128),
  depths: Sequence[int] = (4, 4, 4),
  condition_channels: Sequence[int] = (32, 64, 128),
  condition_convolutions: int = 2,
  condition_net: bool = True,
  alpha: float = 1.0,
  clamp: str = "cinn_paper",
  mixing: str = "orthogonal",
  actnorm: bool = True,
  injector: bool = False,
  init_std: float | None = None,
  zero_last: bool = True,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PictureFlow:
  """RGB [B, H, W, 3] in [0, 1) given a picture [B, h, w, C] of any size.

  Each level halves the picture by a Haar transform and has conditional affine
  couplings, each after an ActNorm and a mixing of the channels. Between levels
  half of the channels leave as latents. H and W are multiples of 2 to the
  number of levels.

  Args:
    hidden: width of the couplings' two hidden layers, by level.
    depths: number of couplings, by level.
    condition_channels: of the features, by level.
    condition_convolutions: 3x3 convolutions of the condition network, by level.
    condition_net: False hands the couplings the resized condition itself.
    alpha, clamp: see `bijections.AffineCoupling`.
    mixing: a name in `cinn.MIXINGS`; "permutation" and "orthogonal" are fixed,
      others are learned.
    actnorm: False leaves the ActNorms out.
    injector: an affine injector before each coupling: all channels are scaled
      and shifted by what the condition alone says.
    init_std, zero_last: see `Subnet`.
    memory: see `bijections.Stack`.
    compute_dtype: of subnets and condition network, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: for numbers that do not fit.
  """
  levels = len(hidden)
  if len(depths) != levels or len(condition_channels) != levels:
    raise ValueError(
      "image_cinn takes one of hidden, depths and condition_channels by level;"
      f" got {levels}, {len(depths)} and {len(condition_channels)}."
    )
  mix = bj.mixing_named(mixing)
  dtype = compute_dtype_named(compute_dtype)

  def couplings(level):
    net = functools.partial(
      Subnet,
      widths=(hidden[level],) * 2,
      kernels=(3, 1, 3),
      init_std=init_std,
      zero_last=zero_last,
      dtype=dtype,
    )
    parts = [bj.ActNorm()] if actnorm else []
    parts += [mix()]
    if injector:
      parts += [bj.AffineInjector(net, alpha=alpha, clamp=clamp)]
    parts += [bj.AffineCoupling(net, alpha=alpha, clamp=clamp)]
    stack = bj.Stack(bj.Chain(parts), depths[level], memory)
    return bj.Conditioned(stack, f"level_{level}")

  stages = [bj.Chain((bj.Haar(), couplings(k))) for k in range(levels)]
  stages[0] = bj.Chain((bj.Standardize(_MEAN, _STD), *stages[0].parts))
  # 3 channels become 12 at every level, of which half leave, so 6 become 24.
  splits = tuple(bj.Split(6 * 2**k) for k in range(levels - 1))
  pyramid = Pyramid(
    tuple(
      ((channels, 2), *((channels, 1),) * (condition_convolutions - 1))
      for channels in condition_channels
    ),
    dtype=dtype,
  )
  return PictureFlow(
    bj.MultiScale(stages=tuple(stages), splits=splits),
    PictureFeatures(levels, pyramid if condition_net else None),
    multiple=2**levels,
    title="image_cinn",
  )


class PictureFeatures(nn.Module):
  """A picture to features at the resolution of each level of a flow.

  A smaller picture is enlarged to the flow's own size first.

  Attributes:
    levels: how many; level k has the flow's resolution over 2^(k+1).
    pyramid: the network, see `Pyramid`; None: the picture itself, resized.
  """

  levels: int
  pyramid: nn.Module | None

  @nn.compact
  def __call__(self, cond, size):
    """[B, h, w, C] in [0, 1] to {"level_0": [B, H/2, W/2, c], ...}.

    `size` is (H, W).
    """
    centred = (cond - _MEAN) / _STD
    if self.pyramid is not None:
      return self.pyramid(_resized(centred, size))
    return {
      f"level_{k}": _resized(centred, [side // 2 ** (k + 1) for side in size])
      for k in range(self.levels)
    }


def _resized(maps, size):
  b, h, w, c = maps.shape
  if (h, w) == tuple(size):
    return maps
  return jax.image.resize(maps, (b, *size, c), "cubic", antialias=True)
