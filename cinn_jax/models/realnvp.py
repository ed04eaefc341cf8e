"""RealNVP of pictures (Dinh et al. 2017)."""

import functools
from collections.abc import Callable, Iterator

import flax.linen as nn
from jax.typing import DTypeLike

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Array, Condition
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

# Maps pictures into (0.05, 0.95) before the logit.
_MARGIN = 0.05 / 0.9


class ResidualSubnet(nn.Module):
  """A coupling's network of residual blocks of two 3x3 convolutions each.

  A first convolution sees data and condition; a last one, of 1x1, starts at 0.
  The blocks are scanned.

  Attributes:
    width: Number of channels of the hidden layers.
    blocks: Number of residual blocks.
    dtype: Precision of the computation; None follows the data.
  """

  width: int
  blocks: int
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, u: Array, cond: Condition, features: int) -> Array:
    """Maps [B, H, W, C] and a condition to [B, H, W, features]."""
    first = Subnet((), (3,), zero_last=False, dtype=self.dtype, name="first")
    hidden = first(u, cond, self.width)
    scan = nn.scan(
      lambda block, hidden, _: (block(hidden), None),
      variable_axes={"params": 0},
      split_rngs={"params": True},
      length=self.blocks,
    )
    block = _Block(self.width, self.dtype, name="blocks")
    hidden, _ = scan(block, hidden, None)
    last = Subnet((), (1,), dtype=self.dtype, name="last")
    return last(nn.relu(hidden), None, features)


class _Block(nn.Module):
  width: int
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    hidden = x
    for _ in range(2):
      hidden = nn.Conv(
        self.width,
        (3, 3),
        dtype=self.dtype,
        conv_general_dilated=conv_general_dilated,
      )(nn.relu(hidden))
    return x + hidden


def realnvp(
  *,
  channels: int = 3,
  levels: int = 3,
  hidden: int = 32,
  blocks: int = 4,
  alpha: float = 1.9,
  conditioned: bool = False,
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds RealNVP: [B, H, W, channels] in [0, 1).

  H and W are multiples of 2^levels. The defaults' networks are the paper's for
  pictures of 32x32. After a logit, each level has three checkerboard couplings,
  a squeeze and three couplings of channels; then half of the channels leave.
  Four checkerboard couplings follow the last level.

  Departures: ActNorm replaces batch normalisation between couplings, which is
  not the same function in training and afterwards; the couplings' networks have
  no normalisation; the published scale is exp of a learned multiple of tanh,
  here it is exp of a soft clamp.

  Args:
    channels: Number of channels of a picture.
    levels: Number of squeezes.
    hidden: Width of the first networks; it doubles after each squeeze.
    blocks: Number of residual blocks of a network.
    alpha: Bound of the log-scale, see `bijections.AffineCoupling`.
    conditioned: Whether the couplings see a condition [B, C]; False ignores it.
    compute_dtype: Precision of the networks, a name in
      `subnets.COMPUTE_DTYPES`.
  """
  dtype = compute_dtype_named(compute_dtype)

  def net(k: int) -> Callable[[], nn.Module]:
    return functools.partial(ResidualSubnet, hidden * 2**k, blocks, dtype)

  def checkerboard(k: int, count: int) -> Iterator[bj.Bijection]:
    for i in range(count):
      yield bj.CheckerboardCoupling(net(k), alpha=alpha, parity=i % 2)
      yield bj.ActNorm()

  def channelwise(k: int) -> Iterator[bj.Bijection]:
    # The halves take turns: a one-sided and a two-sided coupling are three.
    for sides in (1, 2):
      yield bj.AffineCoupling(net(k), sides=sides, alpha=alpha)
      yield bj.ActNorm()

  stages = [
    bj.Chain((*checkerboard(k, 3), bj.Squeeze("channel"), *channelwise(k + 1)))
    for k in range(levels)
  ]
  stages.append(bj.Chain(tuple(checkerboard(levels, 4))))
  # Squeezed channels are four times as many, of which half stay.
  splits = [bj.Split(2 * channels * 2**k) for k in range(levels)]
  logit = bj.Bounded(-_MARGIN, 1 + _MARGIN)
  flow: bj.Bijection = bj.Chain((logit, bj.MultiScale(stages, splits)))
  if not conditioned:
    flow = bj.Conditioned(flow, None)
  return ConditionalFlow(flow, multiple=2**levels)
