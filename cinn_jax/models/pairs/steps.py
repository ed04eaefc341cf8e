"""The steps of Glow that all flows of CAFLOW and its relatives consist of."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.networks.taming import TamedSubnet


class StepOptions(NamedTuple):
  """Settings of a stack of steps; the defaults are CAFLOW's.

  Attributes:
    hidden: Width of the networks.
    transitions: Number of steps without a coupling at the start.
    alpha: Bound of the log-scales.
    clamp: A name in `bijections.CLAMPS`, for couplings and injectors.
    coupling: "affine" or "additive", for couplings and injectors.
    mixing: A name in `bijections.MIXINGS`.
    far: Absolute value above which networks see data and conditions compressed,
      see `networks.taming`. 0 for never, as published.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the networks, a name in
      `subnets.COMPUTE_DTYPES`.
  """

  hidden: int = 64
  transitions: int = 2
  alpha: float = 2.0
  clamp: str = "freia_2021"
  coupling: str = "affine"
  mixing: str = "full"
  far: float = 0.0
  memory: str = "store"
  compute_dtype: str = "float32"


def steps(
  depth: int, options: StepOptions, *, conditional: bool = False
) -> bj.Chain:
  """Builds `transitions` of [ActNorm, mixing], then `depth` steps.

  A step is [ActNorm, mixing, coupling]. The networks are convolutions of 3x3,
  1x1 and 3x3. Their last layers start at 0 and the others as PyTorch's do, as
  published (`Subnet.uniform_init`).

  Args:
    depth: Number of steps with a coupling.
    options: See `StepOptions`.
    conditional: Puts an injector before each coupling. The networks of both
      then see the condition.

  Raises:
    ValueError: For an unknown coupling, mixing or compute_dtype.
  """
  if options.coupling not in ("affine", "additive"):
    raise ValueError(
      f"coupling is 'affine' or 'additive', got {options.coupling!r}."
    )
  mix = bj.mixing_named(options.mixing)

  kind: type[Subnet] | functools.partial = Subnet
  if options.far:
    kind = functools.partial(TamedSubnet, far=options.far, condition=True)
  net = functools.partial(
    kind,
    widths=(options.hidden, options.hidden),
    kernels=(3, 1, 3),
    uniform_init=True,
    dtype=compute_dtype_named(options.compute_dtype),
  )

  def normalize() -> list[bj.Bijection]:
    return [bj.ActNorm(), mix()]

  def stack(parts: Sequence[bj.Bijection], depth: int) -> bj.Stack:
    return bj.Stack(bj.Chain(parts), depth, options.memory)

  injector: bj.Bijection
  coupling: bj.Bijection
  if options.coupling == "affine":
    alpha, clamp = options.alpha, options.clamp
    injector = bj.AffineInjector(net, alpha=alpha, clamp=clamp)
    coupling = bj.AffineCoupling(net, sides=1, alpha=alpha, clamp=clamp)
  else:
    injector = bj.AdditiveInjector(net)
    coupling = bj.AdditiveCoupling(net, sides=1)
  parts = []
  if options.transitions:
    parts.append(stack(normalize(), options.transitions))
  step = [*normalize(), *([injector] if conditional else []), coupling]
  return bj.Chain([*parts, stack(step, depth)])
