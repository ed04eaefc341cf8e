"""SRFlow, super-resolution by a conditional Glow (Lugmayr et al. 2020)."""

import functools
import math
from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Condition, PyTree
from cinn_jax.models.conditional_flow import PictureFlow, widen
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_levels, check_picture, size_text

MIXINGS = {"full": bj.FullConv1x1, "lu": bj.InvertibleConv1x1}


class SuperResolutionFlow(PictureFlow):
  """`bijection` of a picture, conditioned on features of a smaller one.

  The two sizes give the scale between them, which must be a power of 2.
  """

  def features(self, cond: Condition, size: Sequence[int]) -> PyTree:
    check_picture(cond, f"This {self.title}")
    scale = scale_between(size, cond.shape[1:3])
    return widen(self.condition_net(cond, scale))


def scale_between(large: Sequence[int], small: Sequence[int]) -> int:
  """Returns how many times larger one size is, along height and width alike.

  Raises:
    ValueError: If that is not a power of 2; names the nearest size that fits.
  """
  ratio = math.sqrt(math.prod(large) / math.prod(small))
  scale = 2 ** max(0, round(math.log2(ratio)))
  nearest = [scale * side for side in small]
  if list(large) != nearest:
    raise ValueError(
      "SRFlow takes pictures 1, 2, 4, 8 ... times as large as the condition,"
      f" got {size_text(large)} for {size_text(small)}: the nearest is"
      f" {size_text(nearest)}."
    )
  return scale


def srflow(
  *,
  levels: int = 3,
  depth: int = 16,
  transition: int = 2,
  hidden: int = 64,
  blocks: int = 23,
  taps: Sequence[int] = (1, 8, 15, 22),
  encoder_width: int = 64,
  encoder_growth: int = 32,
  correct_splits: bool = False,
  prior_features: bool = False,
  mixing: str = "full",
  alpha: float = 9.21,
  channels: int = 3,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> SuperResolutionFlow:
  """Builds SRFlow: [B, H, W, channels] given [B, h, w, 3].

  H / h = W / w is a power of 2, and H and W are multiples of 2^levels. The
  defaults are the published network for a scale of 4. For a scale of 8, and
  faces, it has 4 levels, and 8 blocks with taps (1, 3, 5, 7).

  Each level squeezes, takes `transition` steps of ActNorm and 1x1 mixing, then
  `depth` steps of ActNorm, 1x1 mixing, an affine injector and a one-sided
  affine coupling. Injectors and couplings see the features of the small picture
  at their own resolution.

  `condition_net` is the encoder. `training.pretraining` first trains it to
  predict the large picture, and `frozen_steps` of the optimizer's group
  "condition_net" then keeps it fixed for that many steps. That group takes no
  weight decay: the flow gives its head no gradient, so decay would shrink it to
  nothing.

  Departures: those from Glow's networks in `models.glow`; priors have a bound;
  levels coarser than the small picture see averages, while the published code
  takes the nearest of the tapped features; biases of the encoder start at 0;
  training dequantizes pictures by noise, and the published one does not.

  Args:
    levels, depth, transition: See above.
    hidden: Width of the networks (3x3, 1x1, 3x3) of couplings and injectors.
    blocks, taps, encoder_width, encoder_growth: See `rrdb.RRDBEncoder`.
    correct_splits: Half of the channels leaves after every level but the last.
      False, as published, also omits the split before the last level.
    prior_features: Whether the Gaussian of the channels that leave depends on
      the features too, not only on the channels that stay. Published
      configurations have False.
    mixing: "full", as published, or "lu", which cannot become singular.
    alpha: Scales are sigmoid(s + 2) + exp(-alpha); the published floor is 1e-4.
    channels: Number of channels of a picture.
    memory: Memory policy of the flow, see `bijections.Stack`.
    compute_dtype: Precision of encoder and subnets, a name in
      `subnets.COMPUTE_DTYPES`; priors are float32.

  Raises:
    ValueError: For an unknown mixing. The model raises it for sizes that do not
      fit.
  """
  if mixing not in MIXINGS:
    raise ValueError(f"mixing is full or lu, got {mixing!r}.")
  dtype = compute_dtype_named(compute_dtype)
  conv = functools.partial(
    Subnet, widths=(hidden,) * 2, kernels=(3, 1, 3), dtype=dtype
  )

  def mix() -> list[bj.Bijection]:
    return [bj.ActNorm(), MIXINGS[mixing]()]

  def level(k: int) -> list[bj.Bijection]:
    step = bj.Chain(
      [
        *mix(),
        bj.AffineInjector(conv, clamp="sigmoid", alpha=alpha),
        bj.AffineCoupling(conv, sides=1, clamp="sigmoid", alpha=alpha),
      ]
    )
    parts: list[bj.Bijection] = [bj.Squeeze("channel")]
    if transition:
      parts.append(bj.Stack(bj.Chain(mix()), transition, memory))
    steps = bj.Stack(step, depth, memory)
    parts.append(bj.Conditioned(steps, f"level_{k}"))
    return parts

  net = functools.partial(Subnet, widths=(), kernels=(3,))
  check_levels(levels)
  last_split = levels - 1 if correct_splits else levels - 2
  stages: list[bj.Bijection] = []
  splits: list[bj.Bijection] = []
  parts: list[bj.Bijection] = []
  for k in range(levels):
    parts += level(k)
    channels *= 4
    if k < last_split:
      channels //= 2
      split = bj.PriorSplit(bj.Split(channels), net)
      key = f"level_{k}" if prior_features else None
      splits.append(bj.Conditioned(split, key))
      stages.append(bj.Chain(parts))
      parts = []
  stages.append(bj.Chain(parts))
  return SuperResolutionFlow(
    bj.MultiScale(stages, splits),
    RRDBEncoder(
      levels=levels,
      blocks=blocks,
      taps=tuple(taps),
      width=encoder_width,
      growth=encoder_growth,
      dtype=dtype,
    ),
    multiple=2**levels,
    title="SRFlow",
    finest=2 if splits else 2**levels,
  )
