"""Glow, a multi-scale flow of pictures (Kingma and Dhariwal 2018)."""

import functools
from collections.abc import Callable

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_levels
from cinn_jax.models.spline_dequantization import dequantization

# Parts of the flow that may see the condition, a vector such as a class.
CONDITIONS = ("none", "prior", "couplings")


def glow(
  *,
  channels: int = 3,
  levels: int = 3,
  depth: int = 32,
  hidden: int = 512,
  coupling: str = "affine",
  condition: str = "none",
  learned_priors: bool = True,
  alpha: float = 9.21,
  dequantization_depth: int = 0,
  dequantization_hidden: int = 32,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds Glow: [B, H, W, channels] in [0, 1).

  H and W are multiples of 2^levels. The defaults are the paper's for CIFAR-10.
  Each level squeezes, takes `depth` steps of ActNorm, 1x1 mixing and a
  one-sided coupling, and sends half of the channels out, standardized by a
  Gaussian that the other half predicts.

  Departures: 1x1 mixing has the LU form, which the paper describes as the
  faster one; scales have a floor and priors a bound; the couplings' networks
  are plain convolutions that start at LeCun's scale, while Glow's normalise
  their hidden activations, scale their output by a learned factor and mark the
  picture's edge.

  Args:
    channels: Number of channels of a picture.
    levels, depth: L and K of the paper.
    hidden: Width of the couplings' networks (3x3, 1x1, 3x3).
    coupling: "affine" or "additive".
    condition: Parts that see a condition [B, C]. "none" ignores it. "prior"
      gives it to the prior of the last latents, as Glow does with classes.
      "couplings" gives it to all priors and to every coupling.
    learned_priors: False scores all latents by N(0, I).
    alpha: Scales of affine couplings are sigmoid(s + 2) + exp(-alpha).
    dequantization_depth: Number of couplings of a variational dequantization of
      256 levels in front of the flow; 0 keeps the task's noise.
    dequantization_hidden: Width of their networks.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the couplings' networks, a name in
      `subnets.COMPUTE_DTYPES`; priors are float32.

  Raises:
    ValueError: For an unknown coupling or condition. The model raises it for a
      picture of another size.
  """
  if condition not in CONDITIONS:
    raise ValueError(
      f"condition is one of {', '.join(CONDITIONS)}, got {condition!r}."
    )
  check_levels(levels)
  dtype = compute_dtype_named(compute_dtype)
  conv = functools.partial(
    Subnet, widths=(hidden,) * 2, kernels=(3, 1, 3), dtype=dtype
  )
  make_coupling = _coupling(coupling, conv, alpha)

  def conditioned_if(
    names: tuple[str, ...], part: bj.Bijection
  ) -> bj.Bijection:
    """Hides the condition from `part` unless it is for one of `names`."""
    return part if condition in names else bj.Conditioned(part, None)

  def level() -> bj.Chain:
    step = bj.Chain((bj.ActNorm(), bj.InvertibleConv1x1(), make_coupling()))
    steps = conditioned_if(("couplings",), bj.Stack(step, depth, memory))
    return bj.Chain((bj.Squeeze("channel"), steps))

  stages = [level() for _ in range(levels)]
  # Squeezed channels are four times as many, of which half stay.
  plain_splits = [bj.Split(2 * channels * 2**k) for k in range(levels - 1)]
  splits: list[bj.Bijection] = [*plain_splits]
  if learned_priors:
    net = functools.partial(Subnet, widths=(), kernels=(3,))
    splits = [
      conditioned_if(("couplings",), bj.PriorSplit(split, net))
      for split in plain_splits
    ]
    prior = conditioned_if(("prior", "couplings"), bj.LearnedPrior())
    stages[-1] = bj.Chain((stages[-1], prior))
  elif condition == "prior":
    raise ValueError("condition='prior' takes learned_priors=True.")
  flow: bj.Bijection = bj.MultiScale(stages, splits)
  if dequantization_depth:
    front = dequantization(
      depth=dequantization_depth,
      hidden=dequantization_hidden,
      memory=memory,
      dtype=dtype,
    )
    flow = bj.Chain((front, flow))
  return ConditionalFlow(flow, multiple=2**levels)


def _coupling(
  name: str, net: Callable[[], nn.Module], alpha: float
) -> Callable[[], bj.Bijection]:
  """Returns a constructor of one-sided couplings of the kind `name`."""
  makers: dict[str, Callable[[], bj.Bijection]] = {
    "affine": functools.partial(
      bj.AffineCoupling, net, sides=1, clamp="sigmoid", alpha=alpha
    ),
    "additive": functools.partial(bj.AdditiveCoupling, net, sides=1),
  }
  if name not in makers:
    raise ValueError(f"coupling is affine or additive, got {name!r}.")
  return makers[name]
