"""CAFLOW (Batzolis et al. 2021), Dual-Glow+ and Dual-Glow (Sun et al. 2019).

Images given images of the same size. All three encode condition and target by
unconditional flows of the same kind, and differ in how the target's latents
depend on the condition's; see `paired_flow`. Numbers of layers, widths and
clamps are those of CAFLOW's code.

What is ambiguous or wrong there, and how it is here:
- Loss: bits/dim of the target plus lambda times bits/dim of the condition, as
  in Dual-Glow. CAFLOW's code divides nats of both by the product of the
  dimensions.
- Squeezes: space to depth, channel-major, of data and conditions alike.
- Splits: the first half of the channels is emitted, the second goes on.
- Clamps: |log-scale| below `alpha` = 2, by FrEIA's arctangent.
- Noise is the task's, and so is whether the condition has any.
- The condition has one or more channels, and may carry a mask beside them.
- Any size, square or not, that can be halved often enough.
- Each unconditional flow has its own depth; in CAFLOW's code the condition's
  flow takes the target's.
- 1x1 convolutions going back report the log-determinant of going back.
- ActNorm is (x + b) exp(s), there x exp(s) + b: the same family.
"""

from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.models.cinn import MIXINGS
from cinn_jax.models.paired_flow import (
  Halved,
  LatentFlows,
  PairedFlow,
  Separate,
  Shared,
)
from cinn_jax.models.subnets import Subnet, compute_dtype_named


def caflow(
  *,
  levels: int = 4,
  latent_depths: Sequence[int] | None = None,
  latent_hidden: int = 32,
  latent_transitions: int = 1,
  latent_alpha: float = 2.0,
  shared: bool = False,
  clamp: str = "freia_2021",
  coupling: str = "affine",
  mixing: str = "full",
  memory: str = "store",
  compute_dtype: str = "float32",
  **pair,
) -> PairedFlow:
  """CAFLOW: [B, H, W, 3] in [0, 1) given an image of the same size and range.

  The defaults are the published network for 64x64: 35,229,968 parameters, of
  which 2,988,336 are in each unconditional flow. With n levels its latents are
  n (n + 1) / 2 arrays, in the order of `LatentFlows`; H and W are multiples of
  2^(n + 1).

  Where inverses explode, which validation shows in the reconstruction error of
  each part: a smaller `alpha`; `clamp="contracting"` with alpha 0.693, for
  scales within 0.5 to 1; `coupling="additive"`; `mixing="cayley"`.

  Args:
    levels: scales of the unconditional flows, n.
    latent_depths: couplings of a block conditioned on D_k alone, and of one
      conditioned on (L_m, D_m); None for the published (8, 8), or (16, 12) of
      the `shared` variant.
    latent_hidden: width of the networks in these blocks.
    latent_transitions: steps without coupling at their start.
    latent_alpha: bound of their log-scales.
    shared: the finer scales share their block of scale m, where else each has
      its own.
    clamp: of all parts: a name in `bijections.CLAMPS`.
    coupling: of all parts, injectors too: "affine" or "additive".
    mixing: of all parts: a name in `cinn.MIXINGS`.
    memory: of all stacks of steps: see `bijections.Stack`.
    compute_dtype: of all subnets: a name in `subnets.COMPUTE_DTYPES`.
    pair: see `flow_pair`.

  Raises:
    ValueError: for an unknown coupling or mixing.
  """
  own_depth, other_depth = latent_depths or ((16, 12) if shared else (8, 8))
  kinds = {
    "clamp": clamp,
    "coupling": coupling,
    "mixing": mixing,
    "memory": memory,
    "compute_dtype": compute_dtype,
  }

  def block(depth):
    return Halved(
      steps(
        depth,
        hidden=latent_hidden,
        transitions=latent_transitions,
        alpha=latent_alpha,
        conditional=True,
        **kinds,
      )
    )

  if shared:
    others = [Shared(block(other_depth)) for _ in range(1, levels)]
  else:
    others = [
      Separate([block(other_depth) for _ in range(m)]) for m in range(1, levels)
    ]
  return flow_pair(
    LatentFlows([block(own_depth) for _ in range(levels)], others),
    name="CAFLOW",
    levels=levels,
    halvings=levels + 1,
    **kinds,
    **pair,
  )


def dual_glow_plus(
  *,
  levels: int = 4,
  latent_depth: int = 8,
  latent_hidden: int = 32,
  latent_transitions: int = 1,
  latent_alpha: float = 2.0,
  clamp: str = "freia_2021",
  coupling: str = "affine",
  mixing: str = "full",
  memory: str = "store",
  compute_dtype: str = "float32",
  **pair,
) -> PairedFlow:
  """Dual-Glow+, CAFLOW's baseline: L_k depends on D_k alone, by a flow.

  CAFLOW without what conditions on coarser scales: 14,500,400 parameters, so
  the two are matched in depth, not in size. Its latents are one array per
  level. The arguments are CAFLOW's.
  """
  kinds = {
    "clamp": clamp,
    "coupling": coupling,
    "mixing": mixing,
    "memory": memory,
    "compute_dtype": compute_dtype,
  }
  own = [
    Halved(
      steps(
        latent_depth,
        hidden=latent_hidden,
        transitions=latent_transitions,
        alpha=latent_alpha,
        conditional=True,
        **kinds,
      )
    )
    for _ in range(levels)
  ]
  return flow_pair(
    LatentFlows(own),
    name="Dual-Glow+",
    levels=levels,
    halvings=levels + 1,
    **kinds,
    **pair,
  )


def dual_glow(
  *,
  levels: int = 4,
  relation_widths: Sequence[int] = (),
  relation_kernel: int = 5,
  compute_dtype: str = "float32",
  **pair,
) -> PairedFlow:
  """Dual-Glow: p(L_k | D_k) is normal around a mean that D_k gives, std 1.

  The mean is a network's, as published one convolution of 5x5; it starts at 0.
  The unconditional flows are CAFLOW's here (published for volumes, with more
  widths and fewer steps), so that the three models differ in one part. H and W
  are multiples of 2^levels.

  Args:
    levels: scales of the unconditional flows.
    relation_widths: hidden layers of that network, if any.
    relation_kernel: of all its convolutions.
    compute_dtype: of all subnets, a name in `subnets.COMPUTE_DTYPES`.
    pair: see `flow_pair`.
  """

  def relation():
    kernels = (relation_kernel,) * (len(relation_widths) + 1)
    dtype = compute_dtype_named(compute_dtype)
    return Subnet(widths=tuple(relation_widths), kernels=kernels, dtype=dtype)

  return flow_pair(
    LatentFlows([bj.AdditiveInjector(relation) for _ in range(levels)]),
    name="Dual-Glow",
    levels=levels,
    halvings=levels,
    compute_dtype=compute_dtype,
    **pair,
  )


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
  memory,
  compute_dtype,
  conditional=False,
):
  """`transitions` of [ActNorm, mixing], then `depth` of these and a coupling.

  Where `conditional`, an injector stands before each coupling, whose networks
  then see the condition too. The networks are convolutions of 3x3, 1x1 and
  3x3, and start at 0.
  """
  if coupling not in ("affine", "additive"):
    raise ValueError(f"coupling is 'affine' or 'additive', got {coupling!r}.")
  if mixing not in MIXINGS:
    raise ValueError(
      f"Unknown mixing {mixing!r}; there are {', '.join(MIXINGS)}."
    )

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
    return [bj.ActNorm(), MIXINGS[mixing]()]

  def stack(parts, depth):
    return bj.Stack(bj.Chain(parts), depth, memory)

  parts = [stack(normalized(), transitions)] if transitions else []
  step = [*normalized(), *steered[0 if conditional else 1 :]]
  return bj.Chain([*parts, stack(step, depth)])
