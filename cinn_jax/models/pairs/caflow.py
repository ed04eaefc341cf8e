"""CAFLOW (Batzolis et al. 2021): images given images of the same size.

Unconditional flows of the same kind encode the condition and the target. So do
those of Dual-Glow+ and Dual-Glow; the three models differ in how the target's
latents depend on the condition's, see `paired_flow`. The numbers of layers,
widths and clamps are those of CAFLOW's code.

Choices where the code is ambiguous or wrong:
- Loss: bits/dim of the target plus lambda times bits/dim of the condition, as
  in Dual-Glow. CAFLOW's code divides the nats of both by the product of the
  dimensions.
- Squeezes: space to depth, channel-major, for data and conditions alike.
- Splits: the first half of the channels leaves, the second half goes on.
- Clamps: |log-scale| stays below `alpha` = 2, by FrEIA's arctangent.
- Noise, on the target and optionally on the condition, is up to the task.
- The condition has one or more channels. A mask may follow them.
- Any image size works, square or not, that can be halved often enough.
- Each unconditional flow has its own depth. In CAFLOW's code the condition's
  flow has the target's.
- The inverse of a 1x1 convolution reports the log-determinant of the inverse.
- ActNorm is (x + b) exp(s). The code has x exp(s) + b, the same family.
"""

from collections.abc import Sequence
from typing import Any

from cinn_jax.bijections import Bijection
from cinn_jax.models.pairs.latent_flows import (
  LatentFlows,
  SeparateBlocks,
  SharedBlock,
  Squeezed,
)
from cinn_jax.models.pairs.paired_flow import (
  PairedFlow,
  flow_pair,
  takes_pair_settings,
)
from cinn_jax.models.pairs.steps import StepOptions, steps


@takes_pair_settings
def caflow(
  *,
  levels: int = 4,
  latent_depths: Sequence[int] | None = None,
  latent_hidden: int = 32,
  latent_transitions: int = 1,
  latent_alpha: float = 2.0,
  shared: bool = False,
  hidden: int = 64,
  transitions: int = 2,
  alpha: float = 2.0,
  clamp: str = "freia_2021",
  coupling: str = "affine",
  mixing: str = "full",
  far: float = 0.0,
  memory: str = "store",
  compute_dtype: str = "float32",
  **pair: Any,
) -> PairedFlow:
  """Builds CAFLOW: [B, H, W, 3] in [0, 1) given an image of the same size.

  The defaults are the published network for 64x64: 35,229,968 parameters,
  2,988,336 of them in each unconditional flow. With n levels its latents are
  n (n + 1) / 2 arrays, in the order of `LatentFlows`. H and W are multiples of
  2^(n + 1).

  If inverses explode, which the reconstruction error of each part shows in
  validation, try a smaller `alpha` and `latent_alpha`; `clamp="contracting"`
  with 0.693 for both, for scales within 0.5 to 1; `far=3`;
  `coupling="additive"`; or `mixing="cayley"`.

  Args:
    levels: Number of scales of the unconditional flows, n.
    latent_depths: Number of couplings in a block conditioned on D_k alone, and
      in a block conditioned on (L_m, D_m). None stands for the published
      (8, 8), or (16, 12) of the `shared` variant.
    latent_hidden, latent_transitions, latent_alpha: `hidden`, `transitions` and
      `alpha` of these blocks.
    shared: Uses one block per coarser scale m for all finer scales, instead of
      one for each.
    hidden, transitions, alpha: Settings of the steps of both unconditional
      flows, see `StepOptions`.
    clamp, coupling, mixing, far, memory, compute_dtype: Settings of the steps
      of all parts, see `StepOptions`.
    pair: Other arguments of `flow_pair`.

  Raises:
    ValueError: For an unknown coupling, mixing or compute_dtype.
  """
  if latent_depths is not None and len(latent_depths) != 2:
    raise ValueError(
      f"caflow takes two latent_depths, got {len(latent_depths)}."
    )
  own_depth, other_depth = latent_depths or ((16, 12) if shared else (8, 8))
  options = StepOptions(
    hidden=hidden,
    transitions=transitions,
    alpha=alpha,
    clamp=clamp,
    coupling=coupling,
    mixing=mixing,
    far=far,
    memory=memory,
    compute_dtype=compute_dtype,
  )
  latent_options = options._replace(
    hidden=latent_hidden, transitions=latent_transitions, alpha=latent_alpha
  )

  def block(depth: int) -> Bijection:
    return Squeezed(steps(depth, latent_options, conditional=True))

  def blocks_of_scale(m: int) -> Bijection:
    if shared:
      return SharedBlock(block(other_depth))
    return SeparateBlocks([block(other_depth) for _ in range(m)])

  return flow_pair(
    LatentFlows(
      own=[block(own_depth) for _ in range(levels)],
      others=[blocks_of_scale(m) for m in range(1, levels)],
    ),
    options,
    name="CAFLOW",
    levels=levels,
    halvings=levels + 1,
    **pair,
  )
