"""Glow, a multi-scale flow of pictures (Kingma and Dhariwal 2018)."""

import functools

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.spline_dequantization import dequantization

# What the condition, a vector such as a class, reaches.
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
  """Pictures [B, H, W, channels] in [0, 1), H and W multiples of 2^levels.

  The defaults are the paper's for CIFAR-10. Each level squeezes, takes `depth`
  steps of ActNorm, 1x1 mixing and a one-sided coupling, and sends half of the
  channels out, standardized by a Gaussian that the other half predicts.

  Departures: 1x1 mixing in the LU form, which the paper describes as the quick
  one; scales have a floor and priors a bound; networks of the couplings are
  plain convolutions, where Glow's normalise their hidden activations, scale
  their output by a learned factor and mark the picture's edge.

  Args:
    channels: of a picture.
    levels, depth: L and K of the paper.
    hidden: width of the couplings' networks (3x3, 1x1, 3x3).
    coupling: "affine" or "additive".
    condition: what a condition [B, C] reaches: "none", so that it may be there
      and is not looked at; "prior", that of the last latents, as Glow's
      classes; or "couplings", which is that and every coupling.
    learned_priors: False scores all latents by N(0, I).
    alpha: scales of affine couplings are sigmoid(s + 2) + exp(-alpha).
    dequantization_depth: couplings of a variational dequantization of 256
      levels in front; 0 leaves the noise as it comes.
    dequantization_hidden: width of their networks.
    memory: see `bijections.Stack`.
    compute_dtype: of the couplings' networks, a name in
      `subnets.COMPUTE_DTYPES`; priors are float32.

  Raises:
    ValueError: for an unknown coupling or condition; by the model, for a
      picture of another size.
  """
  if condition not in CONDITIONS:
    raise ValueError(
      f"condition is one of {', '.join(CONDITIONS)}, got {condition!r}."
    )
  dtype = compute_dtype_named(compute_dtype)
  conv = functools.partial(
    Subnet, widths=(hidden,) * 2, kernels=(3, 1, 3), dtype=dtype
  )
  make_coupling = _coupling(coupling, conv, alpha)
  seen = functools.partial(_seen, condition)

  def level():
    step = bj.Chain((bj.ActNorm(), bj.InvertibleConv1x1(), make_coupling()))
    steps = seen(bj.Stack(step, depth, memory), "couplings")
    return bj.Chain((bj.Squeeze("channel"), steps))

  stages = [level() for _ in range(levels)]
  # Squeezed channels are four times as many, of which half stay.
  split = [bj.Split(2 * channels * 2**k) for k in range(levels - 1)]
  if learned_priors:
    net = functools.partial(Subnet, widths=(), kernels=(3,))
    split = [seen(bj.PriorSplit(s, net), "couplings") for s in split]
    prior = seen(bj.LearnedPrior(), "prior", "couplings")
    stages[-1] = bj.Chain((stages[-1], prior))
  elif condition == "prior":
    raise ValueError("condition='prior' takes learned_priors=True.")
  flow = bj.MultiScale(tuple(stages), tuple(split))
  if dequantization_depth:
    front = dequantization(
      depth=dequantization_depth,
      hidden=dequantization_hidden,
      memory=memory,
      dtype=dtype,
    )
    flow = bj.Chain((front, flow))
  return ConditionalFlow(flow, multiple=2**levels)


def _coupling(name, net, alpha):
  """A constructor of the one-sided couplings of a name."""
  makers = {
    "affine": functools.partial(
      bj.AffineCoupling, net, sides=1, clamp="sigmoid", alpha=alpha
    ),
    "additive": functools.partial(bj.AdditiveCoupling, net, sides=1),
  }
  if name not in makers:
    raise ValueError(f"coupling is affine or additive, got {name!r}.")
  return makers[name]


def _seen(condition, bijection, *by):
  """`bijection`, which sees the condition only where that is one of `by`."""
  return bijection if condition in by else bj.Conditioned(bijection, None)
