"""Dual-Glow (Sun et al. 2019) and Dual-Glow+ (Batzolis et al. 2021).

Both are CAFLOW without the dependence on coarser scales: each scale of the
target depends on the same scale of the condition alone.
"""

import functools
from collections.abc import Sequence
from typing import Any

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.pairs.latent_flows import LatentFlows, Squeezed
from cinn_jax.models.pairs.paired_flow import (
  PairedFlow,
  flow_pair,
  takes_pair_settings,
)
from cinn_jax.models.pairs.steps import StepOptions, steps


@takes_pair_settings
def dual_glow_plus(
  *,
  levels: int = 4,
  latent_depth: int = 8,
  latent_hidden: int = 32,
  latent_transitions: int = 1,
  latent_alpha: float = 2.0,
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
  """Builds Dual-Glow+, CAFLOW's baseline: a flow takes L_k to z given D_k.

  It has 14,500,400 parameters: the two models match in depth, not in size. Its
  latents are one array per level. The arguments are those of `caflow`, with one
  `latent_depth`.
  """
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
  return flow_pair(
    LatentFlows(
      [
        Squeezed(steps(latent_depth, latent_options, conditional=True))
        for _ in range(levels)
      ]
    ),
    options,
    name="Dual-Glow+",
    levels=levels,
    halvings=levels + 1,
    **pair,
  )


@takes_pair_settings
def dual_glow(
  *,
  levels: int = 4,
  relation_widths: Sequence[int] = (),
  relation_kernel: int = 5,
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
  """Builds Dual-Glow: p(L_k | D_k) is normal with a learned mean and std 1.

  A network computes the mean from D_k, as published one convolution of 5x5. The
  unconditional flows are CAFLOW's, so that the three models differ in one part.
  H and W are multiples of 2^levels.

  Departures: the published mean is a leaky ReLU of a convolution of 5x5x5
  without bias that starts uniform in (-0.05, 0.05); ours is linear, has a bias
  and starts at 0. The published flows are for volumes, with more widths and
  fewer steps, have couplings with scales sigmoid(s + 2), no logit and no
  transition steps, and the second half of the channels leaves.

  Args:
    levels: Number of scales of the unconditional flows.
    relation_widths: Widths of that network's hidden layers, if any.
    relation_kernel: Kernel size of all its convolutions.
    hidden, transitions, alpha, clamp, coupling, mixing, far, memory: Settings
      of the unconditional flows' steps, see `StepOptions`.
    compute_dtype: Precision of all networks, a name in
      `subnets.COMPUTE_DTYPES`.
    pair: Other arguments of `flow_pair`.
  """
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

  relation = functools.partial(
    Subnet,
    widths=tuple(relation_widths),
    kernels=(relation_kernel,) * (len(relation_widths) + 1),
    uniform_init=True,
    dtype=compute_dtype_named(compute_dtype),
  )
  return flow_pair(
    LatentFlows([bj.AdditiveInjector(relation) for _ in range(levels)]),
    options,
    name="Dual-Glow",
    levels=levels,
    halvings=levels,
    **pair,
  )
