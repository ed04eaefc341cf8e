"""A ready-made flow for vectors."""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named


def vector_flow(
  dim: int,
  *,
  blocks: int = 8,
  hidden: Sequence[int] = (128, 128),
  activation: Callable = nn.relu,
  mixing: str = "orthogonal",
  alpha: float = 1.9,
  clamp: str = "cinn_paper",
  condition_net: nn.Module | None = None,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds two-sided affine couplings of vectors [B, dim], mixed after each.

  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.networks.summary_nets import SetNet
  >>> flow = make_flow(vector_flow(3, condition_net=SetNet()), (3,))

  This is the conditional network for vectors of Ardizzone et al. 2019, with
  soft permutations between the couplings. It starts as a rotation of x, so
  bring x and the condition to zero mean and unit variance first. Hidden layers
  start as PyTorch's do (`Subnet.uniform_init`).

  Args:
    dim: Number of components of x, at least 2.
    blocks: Number of couplings, each with its own parameters.
    hidden: Widths of the hidden layers of the couplings' networks.
    activation: Activation between those layers.
    mixing: A name in `bijections.MIXINGS`.
    alpha, clamp: See `bijections.AffineCoupling`.
    condition_net: Network from the condition to a vector [B, C], see
      `models.networks.summary_nets`; None takes the condition as it is.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the couplings' networks, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: For fewer than 2 dimensions, or an unknown mixing.
  """
  if dim < 2:
    raise ValueError(
      f"A coupling splits x in two, so dim is at least 2, got {dim}: append a"
      " column of independent standard normal numbers to x, fit dim=2, and"
      " ignore that column of the samples."
    )
  mix = bj.mixing_named(mixing)
  subnet = functools.partial(
    Subnet,
    widths=tuple(hidden),
    kernels=(1,) * (len(hidden) + 1),
    activation=activation,
    uniform_init=True,
    dtype=compute_dtype_named(compute_dtype),
  )
  coupling = bj.AffineCoupling(subnet, alpha=alpha, clamp=clamp)
  block = bj.Chain((coupling, mix()))
  return ConditionalFlow(bj.Stack(block, blocks, memory), condition_net)
