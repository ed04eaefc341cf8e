"""RealNVP of pictures (Dinh et al. 2017)."""

import functools
from typing import Any

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

# Pictures are brought into (0.05, 0.95) before the logit.
_MARGIN = 0.05 / 0.9


class ResidualSubnet(nn.Module):
  """A coupling's network of residual blocks, each two 3x3 convolutions.

  A first convolution sees data and condition, a last one of 1x1 starts at 0.
  The blocks are scanned.

  Attributes:
    width: channels of all of them.
    blocks: how many.
  """

  width: int
  blocks: int
  dtype: Any = None

  @nn.compact
  def __call__(self, u, cond, features):
    """As of `Subnet`, of images."""
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
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
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
  """Pictures [B, H, W, channels] in [0, 1), H and W multiples of 2^levels.

  The defaults' networks are the paper's for pictures of 32x32. After a logit,
  each level has three couplings of a checkerboard, a squeeze and three of
  channels, whereupon half of the channels leave; four of a checkerboard follow.

  Departures: ActNorm in the place of batch normalisation between couplings,
  which is another function in training than after; no normalisation inside
  their networks; the published scale is exp of a learned multiple of tanh, here
  of a soft clamp.

  Args:
    channels: of a picture.
    levels: how often it is squeezed.
    hidden: width of the first networks, twice that after each squeeze.
    blocks: residual blocks of a network.
    alpha: the bound of the log-scale, see `bijections.AffineCoupling`.
    conditioned: whether a condition [B, C] reaches the couplings; False leaves
      it unseen.
    compute_dtype: of the networks, a name in `subnets.COMPUTE_DTYPES`.
  """
  dtype = compute_dtype_named(compute_dtype)

  def net(k):
    return functools.partial(ResidualSubnet, hidden * 2**k, blocks, dtype)

  def checkerboard(k, count):
    for i in range(count):
      yield bj.CheckerboardCoupling(net(k), alpha=alpha, parity=i % 2)
      yield bj.ActNorm()

  def of_channels(k):
    # Halves in turns: a one-sided coupling and a two-sided one are three.
    for sides in (1, 2):
      yield bj.AffineCoupling(net(k), sides=sides, alpha=alpha)
      yield bj.ActNorm()

  stages = [
    bj.Chain((*checkerboard(k, 3), bj.Squeeze("channel"), *of_channels(k + 1)))
    for k in range(levels)
  ]
  stages.append(bj.Chain(tuple(checkerboard(levels, 4))))
  # Squeezed channels are four times as many, of which half stay.
  splits = [bj.Split(2 * channels * 2**k) for k in range(levels)]
  logit = bj.Bounded(-_MARGIN, 1 + _MARGIN)
  flow = bj.Chain((logit, bj.MultiScale(tuple(stages), tuple(splits))))
  if not conditioned:
    flow = bj.Conditioned(flow, None)
  return ConditionalFlow(flow, multiple=2**levels)
