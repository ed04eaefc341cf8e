"""The class-conditional cINNs for MNIST (Ardizzone et al. 2019).

The numbers of layers, widths and clamps are those of the authors' code, which
has two models: a minimal example, and the one behind the paper's figures.
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
  """Builds dense couplings of the pixels [B, size, size, 1], given a vector.

  It has `depth` blocks of a fixed permutation and a two-sided coupling. The
  defaults are the minimal example, 24,341,120 parameters with 10 classes. The
  paper's model, 54,424,320 parameters, has depth 24, hidden (512, 512, 512),
  alpha 1.5, init_std 0.03 and zero_last. There is no condition network: the
  label itself, a vector [B, C], is an input of every subnet.

  Departure: permutations are drawn with the parameters, while the authors take
  numpy's with the block's number as the seed. They are in the collection
  "constants", so the authors' can be put there.

  Args:
    size: Height and width of the pictures, in pixels.
    depth: Number of couplings.
    hidden: Widths of the subnets' hidden layers.
    alpha, clamp: See `bijections.AffineCoupling`.
    init_std, zero_last: See `Subnet`.
    scanned, memory: See `bijections.Stack`.
    compute_dtype: Precision of the subnets, a name in
      `subnets.COMPUTE_DTYPES`.
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
