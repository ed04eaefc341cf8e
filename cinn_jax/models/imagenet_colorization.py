"""The colorization cINN for ImageNet (Ardizzone et al. 2019)."""

import functools

from flax import linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.condition_nets import ColorizationFeatures, Head
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named


def imagenet_colorization(
  *,
  width: int = 64,
  norm: str = "group",
  init_std: float = 0.03,
  clamp: str = "cinn_code",
  lightness_scale: float = 25.6,
  lightness_shift: float = -2.5,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """The colorization cINN for ImageNet: ab [B, 64, 64, 2], L [B, 256, 256, 1].

  88,949,693 parameters, of which 32,236,013 are the feature network. Four
  latent levels: 4096, 2048, 1536 and 512 numbers. Every conditioned coupling
  has a head of its own on the shared features.

  Departures: normalisation by groups, where the authors use batch statistics
  in training (`norm="batch"`: running statistics in both directions); no head
  starts at zero, where theirs zero the level-1 heads' normalisation by a slip
  of indices; orthogonal matrices are uniformly distributed. (`importing` reads
  theirs.)

  Args:
    width: channels of the first convolutions of the feature network; every
      other width but those of the latents follows.
    norm: "group" or "batch", see `normalization.Norm`.
    init_std: of every parameter of flow and heads; the last layer of each
      subnet starts at 0.
    clamp: a name in `bijections.CLAMPS`.
    lightness_scale, lightness_shift: from the task's lightness to L - 50.
    memory: see `bijections.Stack`.
    compute_dtype: of subnets and condition networks, a name in
      `subnets.COMPUTE_DTYPES`.
  """
  dtype = compute_dtype_named(compute_dtype)
  subnet = functools.partial(Subnet, init_std=init_std, dtype=dtype)
  stack = functools.partial(bj.Stack, memory=memory)
  head = functools.partial(
    Head, norm=norm, init_std=init_std, width=width, dtype=dtype
  )
  part = functools.partial(_imagenet_stage, subnet, stack, head, clamp)
  down = functools.partial(_imagenet_down, subnet, stack, clamp)
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
          part(level=0, depth=4, hidden=width // 2),
          down(bj.Squeeze(), width),
          part(level=1, depth=6, hidden=width),
          down(bj.Squeeze(), 2 * width),
        )
      ),
      bj.Chain(
        (
          part(level=2, depth=6, hidden=2 * width),
          down(bj.Squeeze(), 4 * width),
        )
      ),
      bj.Chain(
        (
          part(level=3, depth=6, hidden=4 * width),
          down(bj.Haar(), 4 * width),
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
    ColorizationFeatures(lightness_scale, lightness_shift, norm, width, dtype),
  )


def _imagenet_stage(subnet, stack, head, clamp, *, level, depth, hidden):
  """Couplings of 3x3 convolutions with heads as wide as their subnets."""
  net = functools.partial(
    subnet,
    widths=(hidden, hidden),
    kernels=(3, 3, 3),
    activation=functools.partial(nn.leaky_relu, negative_slope=0.05),
  )
  coupling = bj.Conditioned(
    bj.AffineCoupling(net, alpha=1.5, clamp=clamp),
    "features",
    head(level, hidden),
  )
  return stack(bj.Chain((coupling, bj.Orthogonal())), depth)


def _imagenet_down(subnet, stack, clamp, squeeze, hidden):
  """A squeeze and two couplings of 1x1 convolutions without condition."""
  net = functools.partial(
    subnet,
    widths=(hidden, hidden),
    kernels=(1, 1, 1),
    activation=functools.partial(nn.leaky_relu, negative_slope=0.01),
  )
  coupling = bj.AffineCoupling(net, alpha=1.5, clamp=clamp)
  mixing = stack(bj.Chain((bj.Orthogonal(), coupling)), 2)
  return bj.Chain((squeeze, bj.Conditioned(mixing, None)))
