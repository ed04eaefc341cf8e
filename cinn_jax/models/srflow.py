"""SRFlow, super-resolution by a conditional Glow (Lugmayr et al. 2020)."""

import functools
import math
from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow, widened
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_picture, check_size

MIXINGS = {"full": bj.FullConv1x1, "lu": bj.InvertibleConv1x1}


class SuperResolutionFlow(ConditionalFlow):
  """`bijection` of a picture, conditioned on features of a smaller one.

  How many times smaller shows from the sizes, and must be a power of 2.

  Attributes:
    finest: how many times smaller than the picture the finest latents are.
  """

  finest: int = 2

  def features(self, cond, size):
    """What a picture of that size, [H, W], is conditioned on."""
    check_picture(cond, "This SRFlow")
    scale = scale_between(size, cond.shape[1:3])
    return widened(self.condition_net(cond, scale))

  def forward(self, x, cond=None):
    check_size(x.shape, self.multiple, "This SRFlow")
    return self.bijection.forward(x, self.features(cond, x.shape[1:3]))

  def inverse(self, z, cond=None):
    size = [self.finest * side for side in z[0].shape[1:3]]
    return self.bijection.inverse(z, self.features(cond, size))


def scale_between(large, small) -> int:
  """How many times as large, a power of 2, along height and width alike.

  Raises:
    ValueError: where it is not, with the nearest size that is.
  """
  ratio = math.sqrt(math.prod(large) / math.prod(small))
  scale = 2 ** max(0, round(math.log2(ratio)))
  nearest = [scale * side for side in small]
  if list(large) != nearest:
    raise ValueError(
      "SRFlow takes pictures 1, 2, 4, 8 ... times as large as the condition,"
      f" got {_text(large)} for {_text(small)}: the nearest is"
      f" {_text(nearest)}."
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
) -> ConditionalFlow:
  """Pictures [B, H, W, channels] of [B, h, w, 3], H / h = W / w a power of 2.

  H and W are multiples of 2^levels. The defaults are the published network for
  4 times; for 8 times, and faces, it has 4 levels, and 8 blocks with taps
  (1, 3, 5, 7). Each level squeezes, takes `transition` steps of ActNorm and 1x1
  mixing, and `depth` steps of ActNorm, 1x1 mixing, an affine injector and a
  one-sided affine coupling, which see the features of the small picture at
  their own resolution. `condition_net` is the encoder; `training.pretraining`
  trains it to guess the large picture first, and `frozen_steps` of the
  optimizer's group "condition_net" keeps it as it is for so long. That group
  takes no weight decay: its head, which no flow moves, would shrink to nothing.

  Departures: what the sizes make of Glow's networks, see `models.glow`; priors
  have a bound; levels coarser than the small picture see averages, where the
  published code takes the nearest of the tapped features.

  Args:
    levels, depth, transition: as above.
    hidden: width of the networks (3x3, 1x1, 3x3) of couplings and injectors.
    blocks, taps, encoder_width, encoder_growth: see `rrdb.RRDBEncoder`.
    correct_splits: half of the channels leaves after every level but the last;
      False, as published, leaves out the split before the last level too.
    prior_features: whether the Gaussian of what leaves depends on the features
      too, and not on what stays alone; published configurations do not.
    mixing: "full", as published, or "lu", which cannot become singular.
    alpha: scales are sigmoid(s + 2) + exp(-alpha), published with 1e-4.
    channels: of a picture.
    memory: of the flow, see `bijections.Stack`.
    compute_dtype: of encoder and subnets, a name in `subnets.COMPUTE_DTYPES`;
      priors are float32.

  Raises:
    ValueError: for an unknown mixing; by the model, for sizes that do not fit.
  """
  if mixing not in MIXINGS:
    raise ValueError(f"mixing is full or lu, got {mixing!r}.")
  dtype = compute_dtype_named(compute_dtype)
  conv = functools.partial(
    Subnet, widths=(hidden,) * 2, kernels=(3, 1, 3), dtype=dtype
  )
  scaled = {"clamp": "sigmoid", "alpha": alpha}

  def level(k):
    def mix():
      return bj.ActNorm(), MIXINGS[mixing]()

    step = bj.Chain(
      (
        *mix(),
        bj.AffineInjector(conv, **scaled),
        bj.AffineCoupling(conv, sides=1, **scaled),
      )
    )
    parts = [bj.Squeeze("channel")]
    if transition:
      parts.append(bj.Stack(bj.Chain(mix()), transition, memory))
    steps = bj.Stack(step, depth, memory)
    parts.append(bj.Conditioned(steps, f"level_{k}"))
    return parts

  net = functools.partial(Subnet, widths=(), kernels=(3,))
  last_split = levels - 1 if correct_splits else levels - 2
  stages, splits, parts = [], [], []
  for k in range(levels):
    parts += level(k)
    channels *= 4
    if k < last_split:
      channels //= 2
      split = bj.PriorSplit(bj.Split(channels), net)
      key = f"level_{k}" if prior_features else None
      splits.append(bj.Conditioned(split, key))
      stages.append(bj.Chain(tuple(parts)))
      parts = []
  stages.append(bj.Chain(tuple(parts)))
  return SuperResolutionFlow(
    bj.MultiScale(tuple(stages), tuple(splits)),
    RRDBEncoder(
      levels, blocks, tuple(taps), encoder_width, encoder_growth, dtype
    ),
    multiple=2**levels,
    finest=2 if splits else 2**levels,
  )


def _text(size):
  return "x".join(map(str, size))
