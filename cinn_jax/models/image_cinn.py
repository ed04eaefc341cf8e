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
from cinn_jax.models.cinn import MIXINGS
from cinn_jax.models.condition_nets import Pyramid
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.subnets import Subnet

# Of numbers in [0, 1), roughly.
_MEAN, _STD = 0.5, 0.25


def image_cinn(
  *,
  scale: int = 1,
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
) -> ConditionalFlow:
  """RGB [B, H, W, 3] in [0, 1) given a picture [B, H/scale, W/scale, C].

  Each level halves the picture by a Haar transform and has conditional affine
  couplings, each after an ActNorm and a mixing of the channels. Between levels
  half of the channels leave as latents. H and W are multiples of 2 to the
  number of levels.

  Args:
    scale: how many times smaller the condition is: 1, or an even number.
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

  Raises:
    ValueError: for numbers that do not fit.
  """
  levels = len(hidden)
  if len(depths) != levels or len(condition_channels) != levels:
    raise ValueError(
      "image_cinn takes one of hidden, depths and condition_channels by level;"
      f" got {levels}, {len(depths)} and {len(condition_channels)}."
    )
  if scale < 1 or (scale > 1 and scale % 2):
    raise ValueError(
      f"image_cinn takes scale 1 or an even number, got {scale}."
    )
  if mixing not in MIXINGS:
    raise ValueError(f"mixing is one of {', '.join(MIXINGS)}, got {mixing!r}.")

  def couplings(level):
    net = functools.partial(
      Subnet,
      widths=(hidden[level],) * 2,
      kernels=(3, 1, 3),
      init_std=init_std,
      zero_last=zero_last,
    )
    parts = [bj.ActNorm()] if actnorm else []
    parts += [MIXINGS[mixing]()]
    if injector:
      parts += [bj.AffineInjector(net, alpha=alpha, clamp=clamp)]
    parts += [bj.AffineCoupling(net, alpha=alpha, clamp=clamp)]
    stack = bj.Stack(bj.Chain(parts), depths[level])
    return bj.Conditioned(stack, f"level_{level}")

  stages = [bj.Chain((bj.Haar(), couplings(k))) for k in range(levels)]
  stages[0] = bj.Chain((bj.Standardize(_MEAN, _STD), *stages[0].parts))
  # 3 channels become 12 at every level, of which half leave, so 6 become 24.
  splits = tuple(bj.Split(6 * 2**k) for k in range(levels - 1))
  first = 1 if scale > 1 else 2
  strides = [first] + [2] * (levels - 1)
  pyramid = Pyramid(
    tuple(
      ((channels, stride), *((channels, 1),) * (condition_convolutions - 1))
      for channels, stride in zip(condition_channels, strides, strict=True)
    )
  )
  return ConditionalFlow(
    bj.MultiScale(stages=tuple(stages), splits=splits),
    PictureFeatures(scale, levels, pyramid if condition_net else None),
  )


class PictureFeatures(nn.Module):
  """A picture to features at the resolution of each level of a flow.

  A smaller picture is enlarged to the first level's resolution, half of the
  flow's own, before the network sees it.

  Attributes:
    scale: how many times smaller the condition is than the flow's pictures.
    levels: how many; level k has the flow's resolution over 2^(k+1).
    pyramid: the network, see `Pyramid`; None: the picture itself, resized.
  """

  scale: int
  levels: int
  pyramid: nn.Module | None

  @nn.compact
  def __call__(self, cond):
    """[B, h, w, C] in [0, 1] to {"level_0": [B, H/2, W/2, c], ...}."""
    centred = (cond - _MEAN) / _STD
    if self.pyramid is not None:
      if self.scale > 1:
        centred = _resized(centred, self.scale / 2)
      return self.pyramid(centred)
    return {
      f"level_{k}": _resized(centred, self.scale / 2 ** (k + 1))
      for k in range(self.levels)
    }


def _resized(maps, factor):
  b, h, w, c = maps.shape
  shape = (b, round(h * factor), round(w * factor), c)
  return jax.image.resize(maps, shape, "cubic", antialias=True)
