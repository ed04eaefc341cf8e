"""Two unconditional flows of CAFLOW's kind, and what stands between them.

Numbers of layers, widths and clamps are those of CAFLOW's code; `caflow` says
what is ambiguous or wrong there, and how it is here.
"""

from cinn_jax import bijections as bj
from cinn_jax.models.haar_colorization import mixing_named
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.pairs.paired_flow import PairedFlow


def flow_pair(
  latent_flows: bj.Bijection,
  *,
  name: str,
  levels: int,
  halvings: int,
  channels: int = 3,
  condition_channels: int = 3,
  depth: int = 16,
  condition_depth: int | None = None,
  hidden: int = 64,
  transitions: int = 2,
  alpha: float = 2.0,
  clamp: str = "freia_2021",
  coupling: str = "affine",
  mixing: str = "full",
  logit_alpha: float = 1e-5,
  condition_weight: float = 1e-3,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PairedFlow:
  """Two unconditional flows, and `latent_flows` between their latents.

  Args:
    name: of the model, in refusals.
    levels: scales of the two flows.
    halvings: how often the model halves an image in all.
    channels: of the target.
    condition_channels: of the condition, as far as its flow models them; what
      comes after them is side information, see `PairedFlow`.
    depth: couplings per scale of the target's flow.
    condition_depth: of the condition's flow; None for the same.
    hidden: width of the networks in both.
    transitions: steps without coupling after each of their squeezes.
    alpha: bound of their log-scales.
    clamp, coupling, mixing, memory, compute_dtype: see `caflow`.
    logit_alpha: both images are taken to logit(a / 2 + (1 - a) x).
    condition_weight: lambda, of the condition's bits/dim in the loss.
  """

  def flow(channels, depth):
    stages = [
      bj.Chain(
        (
          bj.Squeeze(order="channel"),
          steps(
            depth,
            hidden=hidden,
            transitions=transitions,
            alpha=alpha,
            clamp=clamp,
            coupling=coupling,
            mixing=mixing,
            memory=memory,
            compute_dtype=compute_dtype,
          ),
        )
      )
      for _ in range(levels)
    ]
    splits = [
      bj.Split(2 * channels * 2**k, side="first") for k in range(levels - 1)
    ]
    margin = logit_alpha / (2 * (1 - logit_alpha))
    logit = bj.Bounded(-margin, 1 + margin)
    return bj.Chain((logit, bj.MultiScale(stages, splits)))

  return PairedFlow(
    target_flow=flow(channels, depth),
    condition_flow=flow(
      condition_channels, depth if condition_depth is None else condition_depth
    ),
    latent_flows=latent_flows,
    condition_weight=condition_weight,
    condition_channels=condition_channels,
    multiple=2**halvings,
    title=f"{name} with {levels} levels",
  )


def steps(
  depth,
  *,
  hidden,
  transitions,
  alpha,
  clamp,
  coupling,
  mixing,
  memory="store",
  compute_dtype="float32",
  conditional=False,
):
  """`transitions` of [ActNorm, mixing], then `depth` of these and a coupling.

  Where `conditional`, an injector stands before each coupling, whose networks
  then see the condition too. The networks are convolutions of 3x3, 1x1 and
  3x3, and start at 0.
  """
  if coupling not in ("affine", "additive"):
    raise ValueError(f"coupling is 'affine' or 'additive', got {coupling!r}.")
  mix = mixing_named(mixing)

  def net():
    return Subnet(
      widths=(hidden, hidden),
      kernels=(3, 1, 3),
      dtype=compute_dtype_named(compute_dtype),
    )

  if coupling == "affine":
    clamped = {"alpha": alpha, "clamp": clamp}
    steered = [
      bj.AffineInjector(net, **clamped),
      bj.AffineCoupling(net, sides=1, **clamped),
    ]
  else:
    steered = [bj.AdditiveInjector(net), bj.AdditiveCoupling(net, sides=1)]

  def normalized():
    return [bj.ActNorm(), mix()]

  def stack(parts, depth):
    return bj.Stack(bj.Chain(parts), depth, memory)

  parts = [stack(normalized(), transitions)] if transitions else []
  step = [*normalized(), *steered[0 if conditional else 1 :]]
  return bj.Chain([*parts, stack(step, depth)])
