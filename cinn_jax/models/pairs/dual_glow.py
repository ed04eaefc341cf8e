"""Dual-Glow (Sun et al. 2019) and Dual-Glow+ (Batzolis et al. 2021).

CAFLOW without what conditions on coarser scales: each scale of the target
depends on the same scale of the condition alone.
"""

from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.pairs.latent_flows import LatentFlows, Squeezed
from cinn_jax.models.pairs.paired_flow import PairedFlow, flow_pair, steps


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
    Squeezed(
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
