"""A ready-made flow for vectors."""

import functools
import operator
from collections.abc import Callable, Sequence

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import compute_dtype_named
from cinn_jax.models.networks.taming import TamedSubnet

# What couplings can do to their half.
COUPLINGS = ("spline", "affine")

# Standardized data are rarely beyond the bound of the splines.
_BINS, _BOUND = 8, 4.0


def vector_flow(
  dim: int,
  *,
  blocks: int = 5,
  hidden: Sequence[int] = (64, 64),
  activation: Callable = nn.relu,
  coupling: str = "spline",
  linear_start: bool = True,
  mixing: str = "permutation",
  alpha: float = 1.9,
  clamp: str = "cinn_paper",
  condition_net: nn.Module | None = None,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds two-sided couplings of vectors [B, dim], mixed after each.

  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.networks.summary_nets import SetNet
  >>> flow = make_flow(vector_flow(3, condition_net=SetNet()), (3,))

  Each coupling is an affine map and then a spline (`SplineCoupling`; Durkan et
  al. 2019), or with coupling="affine" the affine map alone: the conditional
  network for vectors of Ardizzone et al. 2019. Hidden layers start as PyTorch's
  do (`Subnet.uniform_init`). Departures: numbers beyond 3 enter the networks
  compressed, which bounds densities away from the data; and the flow starts as
  a linear Gaussian model of x given the condition, by `ConditionalWhitening`.
  So few rows are enough for what is linear, and the couplings learn the rest.

  A single number (dim=1) has no halves to couple: the blocks are monotonic
  splines of it (`ConditionalSpline`), whose shape depends on the condition.

  Args:
    dim: Number of components of x.
    blocks: Number of couplings or splines, each with its own parameters.
    hidden: Widths of the hidden layers of the couplings' networks.
    activation: Activation between those layers.
    coupling: A name in `COUPLINGS`; of no effect for dim=1.
    linear_start: False leaves out the linear model: the flow starts as a
      permutation, for x of zero mean and unit variance. With a `condition_net`,
      whose features are random at first, the model is of x alone.
    mixing: A name in `bijections.MIXINGS`; of no effect for dim=1. Rotations
      ("orthogonal") blur components that depend on different measurements.
    alpha: Bound of the log-scale of the affine maps; not for dim=1.
    clamp: A name in `bijections.CLAMPS`, for coupling="affine".
    condition_net: Network from the condition to a vector [B, C], see
      `models.networks.summary_nets`; None takes the condition as it is.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the couplings' networks, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: For dim, blocks or widths below 1, for an unknown coupling or
      mixing, and for a condition_net of another kind. The model raises it for
      vectors of another length.
  """
  dim, blocks = _at_least_1("dim", dim), _at_least_1("blocks", blocks)
  if isinstance(hidden, str) or not hasattr(hidden, "__iter__"):
    raise ValueError(
      f"hidden must be a sequence of widths such as (128, 128), got {hidden!r}."
    )
  hidden = [_at_least_1("a width in hidden", width) for width in hidden]
  if not (condition_net is None or isinstance(condition_net, nn.Module)):
    raise ValueError(
      "condition_net must be a module such as SetNet(), got"
      f" {condition_net!r:.60}."
    )
  mix = bj.mixing_named(mixing)
  subnet = functools.partial(
    TamedSubnet,
    widths=tuple(hidden),
    kernels=(1,) * (len(hidden) + 1),
    activation=activation,
    uniform_init=True,
    dtype=compute_dtype_named(compute_dtype),
  )
  block: bj.Bijection
  if dim == 1:
    block = bj.ConditionalSpline(subnet)
  else:
    block = bj.Chain((_coupling(coupling, subnet, alpha, clamp), mix()))
  flow: bj.Bijection = bj.Stack(block, blocks, memory)
  if linear_start:
    whitening = bj.ConditionalWhitening(regress=condition_net is None)
    flow = bj.Chain((whitening, flow))
  return ConditionalFlow(flow, condition_net, dim=dim)


def _coupling(name, subnet, alpha, clamp):
  if name == "affine":
    return bj.AffineCoupling(subnet, alpha=alpha, clamp=clamp)
  if name == "spline":
    return bj.SplineCoupling(
      subnet, bins=_BINS, bound=_BOUND, affine_alpha=alpha
    )
  raise ValueError(
    f"Unknown coupling {name!r}; there are {', '.join(COUPLINGS)}."
  )


def _at_least_1(name, value):
  try:
    count = operator.index(value)
  except TypeError:
    count = 0
  if count < 1:
    raise ValueError(f"{name} must be a whole number above 0, got {value!r}.")
  return count
