"""The class-conditional cINNs for MNIST (Ardizzone et al. 2019).

Numbers of layers, widths and clamps are those of the authors' code, which has
two models: a minimal example, and the one behind the paper's figures.
"""

import functools
from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named


def dense_cinn(
  *,
  size: int = 28,
  depth: int = 20,
  hidden: Sequence[int] = (512,),
  alpha: float = 1.0,
  clamp: str = "cinn_code",
  init_std: float | None = 0.01,
  zero_last: bool = False,
  scanned: bool = True,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Dense couplings on the pixels [B, size, size, 1], given a vector [B, C].

  `depth` times a fixed permutation and a two-sided coupling. The defaults are
  the minimal example, 24,341,120 parameters with 10 classes. The paper's model,
  54,424,320 parameters, has depth 24, hidden (512, 512, 512), alpha 1.5,
  init_std 0.03 and zero_last. There is no condition network: the label itself
  enters every subnet.

  Departure: permutations are drawn with the parameters, where the authors take
  numpy's at the seed of the block's number. They are in the collection
  "constants", so theirs can be put there.

  Args:
    hidden: widths of the subnets' hidden layers.
    alpha, clamp: see `bijections.AffineCoupling`.
    init_std, zero_last: see `Subnet`.
    scanned, memory: see `bijections.Stack`.
    compute_dtype: of the subnets, a name in `subnets.COMPUTE_DTYPES`.
  """
  net = functools.partial(
    Subnet,
    widths=tuple(hidden),
    kernels=(1,) * (len(hidden) + 1),
    init_std=init_std,
    zero_last=zero_last,
    dtype=compute_dtype_named(compute_dtype),
  )
  block = bj.Chain(
    (bj.Permutation(), bj.AffineCoupling(net, alpha=alpha, clamp=clamp))
  )
  stack = bj.Stack(block, depth, memory, scanned)
  return ConditionalFlow(bj.Chain((bj.Flatten((size, size, 1)), stack)))
