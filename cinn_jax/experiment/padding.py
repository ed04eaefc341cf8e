"""Weights that only ever multiply padding.

A 3x3 convolution of a 1x1 map uses one of its nine weights per pair of
channels; the others meet nothing but the zeros around the map. They get no
gradient, so a network has fewer parameters than it counts.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from cinn_jax.bijections.base import PyTree
from cinn_jax.flow import Flow


def weights_on_padding(
  flow: Flow, variables: PyTree, x: PyTree, cond: PyTree
) -> int:
  """Counts the weights of convolutions that `flow.forward` has no use for.

  It only traces the flow, so all arguments may be abstract.

  Args:
    flow: The flow.
    variables: Its variables.
    x: A batch of data.
    cond: The batch's condition, or None.
  """
  used: dict[tuple[str, ...], np.ndarray] = {}

  def record(method, args, kwargs, context):
    layer = context.module
    if isinstance(layer, nn.Conv) and context.method_name == "__call__":
      taps = _used_taps(layer, args[0].shape)
      # A layer may run at several sizes.
      used[layer.path] = taps | used.get(layer.path, False)
    return method(*args, **kwargs)

  with nn.intercept_methods(record):
    # A new function, since JAX remembers traces of old ones.
    jax.eval_shape(lambda *args: flow.forward(*args), variables, x, cond)
  total = 0
  for path, taps in used.items():
    for kernel in _kernels(variables["params"], path):
      total += math.prod(kernel.shape) // taps.size * int(np.sum(~taps))
  return total


def _used_taps(layer: nn.Conv, shape: Sequence[int]) -> np.ndarray:
  """Returns, for each tap of a kernel, if it ever meets its input."""
  kernel: Any = layer.kernel_size
  pads: Any = layer.padding
  sides = shape[-1 - len(kernel) : -1]
  strides, dilations = (
    _by_axis(value, len(sides))
    for value in (layer.strides, layer.kernel_dilation)
  )
  if isinstance(pads, str):
    extents = [
      (size - 1) * dilation + 1
      for size, dilation in zip(kernel, dilations, strict=True)
    ]
    pads = jax.lax.padtype_to_pads(sides, extents, strides, pads)
  taps = np.array(True)
  for side, size, stride, dilation, (low, high) in zip(
    sides, kernel, strides, dilations, pads, strict=True
  ):
    last = side + low + high - (size - 1) * dilation
    starts = np.arange(0, last, stride) - low
    places = starts + dilation * np.arange(size)[:, None]
    meets = ((places >= 0) & (places < side)).any(axis=1)
    taps = taps[..., None] & meets
  return taps


def _by_axis(value: Any, axes: int) -> Sequence[int]:
  if value is None:
    return (1,) * axes
  return (value,) * axes if isinstance(value, int) else value


def _kernels(params: PyTree, path: Sequence[str]) -> list[jax.Array]:
  """Returns the kernels at a path; blocks apart have one each, "0", "1"...

  Constants, such as a classifier's, have none here.
  """
  if not path:
    return [params["kernel"]]
  if path[0] in params:
    return _kernels(params[path[0]], path[1:])
  blocks = [block for name, block in params.items() if name.isdigit()]
  return [kernel for block in blocks for kernel in _kernels(block, path)]
