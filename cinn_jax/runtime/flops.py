"""What computations cost in FLOPs, and what devices can do in a second."""

import math

import jax

from cinn_jax.runtime.cpu_convolution import LAYOUT_NUMBERS, cpu_conv_p

# Dense bfloat16 products with float32 sums, per second and device, as their
# makers state them.
_PEAKS = {
  "NVIDIA A100": 312e12,
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H200": 989e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v6 lite": 918e12,
  "TPU v6e": 918e12,
}


def peak_flops(device_kind: str) -> float | None:
  """A device's bfloat16 FLOPs per second, or None where it is not known."""
  known = [kind for kind in _PEAKS if device_kind.startswith(kind)]
  return _PEAKS[max(known, key=len)] if known else None


def flops(function, *arguments) -> int:
  """FLOPs of a call's matrix products and convolutions, loops unrolled.

  A multiply-add counts as two, of conditional branches the dearest. Traces
  only: arguments may be abstract.
  """
  return jaxpr_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def jaxpr_flops(jaxpr) -> int:
  """`flops` of a traced function."""
  total = 0
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    if name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += 2 * _outputs(equation) * math.prod(shape[d] for d in contracted)
    elif name in ("conv_general_dilated", cpu_conv_p.name):
      kernel = equation.invars[1].aval.shape
      total += 2 * _outputs(equation) * math.prod(kernel) // _filters(equation)
    elif name == "cond":
      # One branch is run; which one is not known.
      branches = equation.params["branches"]
      total += max(jaxpr_flops(branch.jaxpr) for branch in branches)
      continue
    repeats = equation.params["length"] if name == "scan" else 1
    for inner in _inner(equation.params):
      total += repeats * jaxpr_flops(inner)
  return total


def _filters(convolution):
  """The number of output channels, in whichever layout the weights are."""
  numbers = convolution.params.get("dimension_numbers", LAYOUT_NUMBERS)
  return convolution.invars[1].aval.shape[numbers.rhs_spec[0]]


def _outputs(equation):
  return math.prod(equation.outvars[0].aval.shape)


def _inner(params):
  for value in params.values():
    for candidate in value if isinstance(value, (tuple, list)) else (value,):
      candidate = getattr(candidate, "jaxpr", candidate)
      if hasattr(candidate, "eqns"):
        yield candidate
