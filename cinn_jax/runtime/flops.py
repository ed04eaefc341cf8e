"""FLOPs of computations, and the peak rates of devices."""

from collections.abc import Callable
from typing import Any

import jax
from absl import logging

from cinn_jax.runtime import jax_internals

# Dense bfloat16 products with float32 sums, per second and device, from the
# data sheets.
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
  """Returns a device's bfloat16 FLOPs per second, or None if it is unknown."""
  known = [kind for kind in _PEAKS if device_kind.startswith(kind)]
  return _PEAKS[max(known, key=len)] if known else None


def flops(function: Callable[..., Any], *arguments: Any) -> int | None:
  """Counts the FLOPs of a call's matrix products and convolutions.

  A multiply-add counts as two, a loop's body once for each iteration, and a
  conditional as its most expensive branch. The call is only traced, so the
  arguments may be abstract.

  Returns:
    The number, or None if the trace cannot be read with this version of JAX.
  """
  return jaxpr_flops(jax.make_jaxpr(function)(*arguments))


def jaxpr_flops(jaxpr: Any) -> int | None:
  """Counts the FLOPs of a traced function, see `flops`."""
  try:
    return _count(jaxpr)
  except jax_internals.Changed as error:
    logging.log_first_n(logging.WARNING, "FLOPs are unknown: %s.", 1, error)
    return None


def _count(jaxpr):
  total = 0
  for operation in jax_internals.operations(jaxpr):
    bodies = [_count(body) for body in operation.bodies]
    if operation.is_choice:
      total += max(bodies)
    else:
      total += operation.repeats * sum(bodies)
    total += 2 * operation.outputs * operation.summands
  return total
