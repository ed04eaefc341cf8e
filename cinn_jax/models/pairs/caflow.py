"""CAFLOW (Batzolis et al. 2021): images given images of the same size.

It encodes condition and target by unconditional flows of the same kind, as do
Dual-Glow+ and Dual-Glow, which differ in how the target's latents depend on the
condition's; see `paired_flow`. Numbers of layers, widths and
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

from cinn_jax.models.pairs.latent_flows import (
  LatentFlows,
  Separate,
  Shared,
  Squeezed,
)
from cinn_jax.models.pairs.paired_flow import PairedFlow, flow_pair, steps


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
  each part: a smaller `alpha` and `latent_alpha`; `clamp="contracting"` with
  0.693 for both, for scales within 0.5 to 1; `coupling="additive"`;
  `mixing="cayley"`.

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
    return Squeezed(
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
