"""The colorization cINN for ImageNet (Ardizzone et al. 2019).

The numbers of layers, widths and clamps are those of the authors' code. The
builder's docstring lists the departures from it.
"""

import functools
from collections.abc import Callable

from flax import linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.condition_nets import ColorizationFeatures, Head
from cinn_jax.models.networks.features import additions
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named


def imagenet_colorization(
  *,
  width: int = 64,
  norm: str = "group",
  init_std: float = 0.03,
  clamp: str = "cinn_code",
  lightness_scale: float = 25.6,
  lightness_shift: float = -2.5,
  features: str = "",
  hints: bool = False,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds the ImageNet cINN: ab [B, 64, 64, 2] given L [B, 256, 256, 1].

  It has 88,949,693 parameters, 32,236,013 of them in the feature network, and
  four latent levels: 4096, 2048, 1536 and 512 numbers. Every conditioned
  coupling has a head of its own on the shared features.

  Departures: features are normalised by groups, while the authors use batch
  statistics in training (`norm="batch"` takes running statistics in both
  directions); no head starts at zero, while theirs zero the normalisation of
  the level-1 heads by a slip of indices; orthogonal matrices are uniformly
  distributed. (`importing` reads theirs.)

  Args:
    width: Number of channels of the feature network's first convolutions. All
      other widths but those of the latents are multiples of it.
    norm: "group" or "batch", see `normalization.Norm`.
    init_std: Standard deviation of the initial parameters of flow and heads;
      the last layer of each subnet starts at 0.
    clamp: A name in `bijections.CLAMPS`.
    lightness_scale, lightness_shift: Map the task's lightness to L - 50.
    features: Classifier whose features of L are added to the condition's, see
      `networks.features.named`; "" for none.
    hints: Whether the condition is a dict with hints, see `Additions`.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of subnets and condition networks, a name in
      `subnets.COMPUTE_DTYPES`.
  """
  dtype = compute_dtype_named(compute_dtype)
  subnet = functools.partial(Subnet, init_std=init_std, dtype=dtype)
  stack = functools.partial(bj.Stack, memory=memory)
  head = functools.partial(
    Head, norm=norm, init_std=init_std, width=width, dtype=dtype
  )
  stage = functools.partial(
    _stage, subnet=subnet, stack=stack, head=head, clamp=clamp
  )
  down = functools.partial(_down, subnet=subnet, stack=stack, clamp=clamp)
  dense_net = functools.partial(
    subnet, widths=(8 * width,) * 3, kernels=(1,) * 4
  )
  dense = bj.Chain(
    (
      bj.Permutation(),
      bj.AffineCoupling(dense_net, alpha=1.5, clamp=clamp),
    )
  )
  flow = bj.MultiScale(
    stages=(
      bj.Chain(
        (
          stage(level=0, depth=4, hidden=width // 2),
          down(bj.Squeeze(), hidden=width),
          stage(level=1, depth=6, hidden=width),
          down(bj.Squeeze(), hidden=2 * width),
        )
      ),
      bj.Chain(
        (
          stage(level=2, depth=6, hidden=2 * width),
          down(bj.Squeeze(), hidden=4 * width),
        )
      ),
      bj.Chain(
        (
          stage(level=3, depth=6, hidden=4 * width),
          down(bj.Haar(), hidden=4 * width),
        )
      ),
      bj.Chain(
        (
          bj.Flatten((4, 4, 32), "channel"),
          bj.Conditioned(stack(dense, 8), "vector"),
        )
      ),
    ),
    splits=(bj.Split(16), bj.Split(32), bj.Split(96)),
  )
  return ConditionalFlow(
    flow,
    ColorizationFeatures(
      lightness_scale=lightness_scale,
      lightness_shift=lightness_shift,
      norm=norm,
      width=width,
      dtype=dtype,
    ),
    additions=additions(features, hints=hints, dtype=dtype),
  )


def _stage(
  *,
  level: int,
  depth: int,
  hidden: int,
  subnet: Callable[..., nn.Module],
  stack: Callable[..., bj.Stack],
  head: Callable[..., nn.Module],
  clamp: str,
) -> bj.Stack:
  """Builds couplings of 3x3 convolutions; heads are as wide as subnets."""
  net = functools.partial(
    subnet,
    widths=(hidden, hidden),
    kernels=(3, 3, 3),
    activation=functools.partial(nn.leaky_relu, negative_slope=0.05),
  )
  coupling = bj.Conditioned(
    bj.AffineCoupling(net, alpha=1.5, clamp=clamp),
    "features",
    head(level=level, channels=hidden),
  )
  return stack(bj.Chain((coupling, bj.Orthogonal())), depth)


def _down(
  squeeze: bj.Bijection,
  *,
  hidden: int,
  subnet: Callable[..., nn.Module],
  stack: Callable[..., bj.Stack],
  clamp: str,
) -> bj.Chain:
  """Builds a squeeze and two couplings of 1x1 convolutions, unconditioned."""
  net = functools.partial(
    subnet,
    widths=(hidden, hidden),
    kernels=(1, 1, 1),
    activation=functools.partial(nn.leaky_relu, negative_slope=0.01),
  )
  coupling = bj.AffineCoupling(net, alpha=1.5, clamp=clamp)
  mixing = stack(bj.Chain((bj.Orthogonal(), coupling)), 2)
  return bj.Chain((squeeze, bj.Conditioned(mixing, None)))
