"""A cINN for RGB pictures of any size, given a picture.

This is not a published network. It combines parts of the colorization cINNs
(Ardizzone et al. 2019) for whole pictures. It has no dense part, so one set of
parameters serves every size that its levels can halve.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Array
from cinn_jax.models.conditional_flow import PictureFlow
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.features import additions
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_levels

# Rough mean and standard deviation of pictures in [0, 1).
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
  features: str = "",
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PictureFlow:
  """Builds a cINN: RGB [B, H, W, 3] in [0, 1) given a picture.

  The given picture [B, h, w, C] may have any size; H and W are multiples of 2
  to the number of levels. Each level halves the picture by a Haar transform and
  has conditional affine couplings, each after an ActNorm and a mixing of the
  channels. Between levels half of the channels leave as latents.

  Args:
    hidden: Width of the two hidden layers of the couplings, by level.
    depths: Number of couplings, by level.
    condition_channels: Number of channels of the features, by level.
    condition_convolutions: Number of 3x3 convolutions that make them, per
      level.
    condition_net: False gives the couplings the resized condition itself.
    alpha, clamp: See `bijections.AffineCoupling`.
    mixing: A name in `bijections.MIXINGS`; "permutation" and "orthogonal" are
      fixed, others are learned.
    actnorm: False omits the ActNorms.
    injector: Puts an affine injector before each coupling, which scales and
      shifts all channels by numbers that depend on the condition alone.
    init_std, zero_last: See `Subnet`.
    features: Classifier whose features of the given picture are added to the
      condition's, see `networks.features.named`; "" for none.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of subnets and condition network, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: If the settings by level differ in length, or for an unknown
      mixing.
  """
  levels = check_levels(len(hidden))
  if len(depths) != levels or len(condition_channels) != levels:
    raise ValueError(
      "image_cinn takes hidden, depths and condition_channels by level, so of"
      f" one length; got {levels}, {len(depths)} and"
      f" {len(condition_channels)} entries."
    )
  mix = bj.mixing_named(mixing)
  dtype = compute_dtype_named(compute_dtype)

  def couplings(level: int) -> bj.Conditioned:
    net = functools.partial(
      Subnet,
      widths=(hidden[level],) * 2,
      kernels=(3, 1, 3),
      init_std=init_std,
      zero_last=zero_last,
      dtype=dtype,
    )
    parts: list[bj.Bijection] = [bj.ActNorm()] if actnorm else []
    parts.append(mix())
    if injector:
      parts.append(bj.AffineInjector(net, alpha=alpha, clamp=clamp))
    parts.append(bj.AffineCoupling(net, alpha=alpha, clamp=clamp))
    stack = bj.Stack(bj.Chain(parts), depths[level], memory)
    return bj.Conditioned(stack, f"level_{level}")

  stages = [bj.Chain((bj.Haar(), couplings(k))) for k in range(levels)]
  stages[0] = bj.Chain((bj.Standardize(_MEAN, _STD), *stages[0].parts))
  # A Haar transform makes 12 channels of 3; half leave, and it makes 24 of 6.
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
    additions=additions(features, of_lightness=False, dtype=dtype),
  )


class PictureFeatures(nn.Module):
  """Features of a picture at the resolution of each level of a flow.

  The picture is resized to the flow's own size first.

  Attributes:
    levels: Number of levels; level k has the flow's resolution over 2^(k+1).
    pyramid: The network, see `Pyramid`; None resizes the picture to each level.
  """

  levels: int
  pyramid: nn.Module | None

  @nn.compact
  def __call__(self, cond: Array, size: Sequence[int]) -> dict[str, Array]:
    """Maps [B, h, w, C] in [0, 1] to {"level_0": [B, H/2, W/2, c], ...}.

    `size` is (H, W).
    """
    centred = (cond - _MEAN) / _STD
    if self.pyramid is not None:
      return self.pyramid(resize(centred, size))
    return {
      f"level_{k}": resize(centred, [side // 2 ** (k + 1) for side in size])
      for k in range(self.levels)
    }


def resize(maps: Array, size: Sequence[int]) -> Array:
  """Resizes maps [B, h, w, C] to (H, W) by an antialiased cubic filter."""
  b, h, w, c = maps.shape
  if (h, w) == tuple(size):
    return maps
  return jax.image.resize(maps, (b, *size, c), "cubic", antialias=True)
