"""A 2-D convolution whose gradients are fast inside a loop on a CPU.

XLA's CPU compiler has a fast kernel for one layout, NHWC with HWIO weights. It
brings convolutions into this layout, except those inside a loop's body. JAX's
gradients of a convolution have other layouts, so in scanned blocks they would
run 10 to 60 times slower, on a naive loop. `cpu_conv_p` is a convolution that
always has this layout, and so have its derivatives, of any order, in forward
and reverse mode. Other devices get `jax.lax.conv_general_dilated` itself, as
does a version of JAX in which the primitive cannot be defined.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax import lax

from cinn_jax.runtime import jax_internals, target

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Bytes of weights that stay in a processor's cache while they are used. On one
# with 32 MiB of cache, 4 MiB were fastest and 32 MiB five times slower.
CACHE_BYTES = 4 * 2**20
# With fewer output channels, a matrix product does not fill the registers.
_FULL_CHANNELS = 16
LAYOUT_NUMBERS = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, _LAYOUT)


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers: Any = None,
  feature_group_count: int = 1,
  precision: Any = None,
) -> jax.Array:
  """Replaces `jax.lax.conv_general_dilated`, for instance in `nn.Conv`."""
  lhs_dilation = tuple(lhs_dilation or (1, 1))
  rhs_dilation = tuple(rhs_dilation or (1, 1))
  is_plain = (
    dimension_numbers == LAYOUT_NUMBERS
    and feature_group_count == 1
    and precision is None
    and target.platform() == "cpu"
  )
  if is_plain and cpu_conv_p is None:
    logging.log_first_n(
      logging.WARNING, "Gradients of convolutions are slow: %s.", 1, _PROBLEM
    )
  if not is_plain or cpu_conv_p is None:
    return lax.conv_general_dilated(
      lhs,
      rhs,
      window_strides,
      padding,
      lhs_dilation=lhs_dilation,
      rhs_dilation=rhs_dilation,
      dimension_numbers=dimension_numbers,
      feature_group_count=feature_group_count,
      precision=precision,
    )
  if isinstance(padding, str):
    effective = [
      d * (k - 1) + 1 for d, k in zip(rhs_dilation, rhs.shape[:2], strict=True)
    ]
    padding = lax.padtype_to_pads(
      lhs.shape[1:3], effective, window_strides, padding
    )
  return cpu_conv_p.bind(
    lhs,
    rhs,
    strides=tuple(window_strides),
    padding=tuple((int(low), int(high)) for low, high in padding),
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
  )


def _convolve(lhs, rhs, *, strides, padding, lhs_dilation, rhs_dilation):
  return lax.conv_general_dilated(
    lhs,
    rhs,
    strides,
    padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
    dimension_numbers=_LAYOUT,
  )


def _transpose_lhs(
  cotangent, lhs_shape, rhs, *, strides, padding, lhs_dilation, rhs_dilation
):
  pads = []
  for low, full, kernel, out in _extents(
    lhs=lhs_shape,
    rhs=rhs.shape,
    out=cotangent.shape,
    strides=strides,
    padding=padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
  ):
    before = kernel - 1 - low
    pads.append((before, full + kernel - 1 - out - before))
  return cpu_conv_p.bind(
    cotangent,
    jnp.flip(rhs, (0, 1)).swapaxes(2, 3),
    strides=lhs_dilation,
    padding=tuple(pads),
    lhs_dilation=strides,
    rhs_dilation=rhs_dilation,
  )


def _transpose_rhs(
  cotangent, lhs, rhs_shape, *, strides, padding, lhs_dilation, rhs_dilation
):
  extents = list(
    _extents(
      lhs=lhs.shape,
      rhs=rhs_shape,
      out=cotangent.shape,
      strides=strides,
      padding=padding,
      lhs_dilation=lhs_dilation,
      rhs_dilation=rhs_dilation,
    )
  )
  # Channels and batch change places. Either array can serve as the weights; one
  # with few channels would leave the kernel idle.
  if cotangent.shape[3] < min(_FULL_CHANNELS, lhs.shape[3]):
    flipped = _correlate(
      data=cotangent,
      weights=lhs,
      data_dilation=strides,
      weights_dilation=lhs_dilation,
      strides=rhs_dilation,
      pads=[
        (kernel - 1 - low, full + low - out)
        for low, full, kernel, out in extents
      ],
    )
    return jnp.flip(flipped, (1, 2)).transpose(1, 2, 3, 0)
  gradient = _correlate(
    data=lhs,
    weights=cotangent,
    data_dilation=lhs_dilation,
    weights_dilation=strides,
    strides=rhs_dilation,
    pads=[
      (low, out + kernel - full - 1 - low) for low, full, kernel, out in extents
    ],
  )
  return gradient.transpose(1, 2, 0, 3)


def _correlate(
  *, data, weights, data_dilation, weights_dilation, strides, pads
):
  """Sums the products of two arrays over the batch: `[Cd, h, w, Cw]`.

  `weights` are as large as a batch. They are taken in parts that fit into a
  processor's cache.
  """
  batch = len(data)
  fewest = -(-weights.size * weights.dtype.itemsize // CACHE_BYTES)
  parts = next((n for n in range(fewest, batch) if batch % n == 0), batch)

  def correlate(data, weights):
    return cpu_conv_p.bind(
      data.transpose(3, 1, 2, 0),
      weights.transpose(1, 2, 0, 3),
      strides=strides,
      padding=tuple(pads),
      lhs_dilation=data_dilation,
      rhs_dilation=weights_dilation,
    )

  if parts <= 1:
    return correlate(data, weights)

  # Every `parts`-th example, so that a batch stays spread over its devices.
  def part(array, k):
    array = array.reshape(batch // parts, parts, *array.shape[1:])
    return lax.dynamic_index_in_dim(array, k, 1, keepdims=False)

  def add(total, k):
    return total + correlate(part(data, k), part(weights, k)), None

  shape = jax.eval_shape(correlate, data, weights)
  total, _ = lax.scan(
    add, jnp.zeros(shape.shape, shape.dtype), jnp.arange(parts)
  )
  return total


def _extents(*, lhs, rhs, out, strides, padding, lhs_dilation, rhs_dilation):
  """Yields low padding and dilated input, kernel and output of each axis."""
  for axis in (0, 1):
    yield (
      padding[axis][0],
      lhs_dilation[axis] * (lhs[axis + 1] - 1) + 1,
      rhs_dilation[axis] * (rhs[axis] - 1) + 1,
      strides[axis] * (out[axis + 1] - 1) + 1,
    )


def _batch(arguments, axes, **params):
  lhs, rhs = arguments
  lhs_axis, rhs_axis = axes
  if rhs_axis is None:  # Merged with the batch.
    lhs = jnp.moveaxis(lhs, lhs_axis, 0)
    merged = lhs.reshape(-1, *lhs.shape[2:])
    out = cpu_conv_p.bind(merged, rhs, **params)
    return out.reshape(*lhs.shape[:2], *out.shape[1:]), 0
  if lhs_axis is None:  # Merged with the output channels.
    rhs = jnp.moveaxis(rhs, rhs_axis, 3)
    merged = rhs.reshape(*rhs.shape[:3], -1)
    out = cpu_conv_p.bind(lhs, merged, **params)
    return out.reshape(*out.shape[:3], *rhs.shape[3:]), 3
  pairs = jnp.moveaxis(lhs, lhs_axis, 0), jnp.moveaxis(rhs, rhs_axis, 0)
  return lax.map(lambda pair: cpu_conv_p.bind(*pair, **params), pairs), 0


cpu_conv_p: Any = None
_PROBLEM = ""
try:
  cpu_conv_p = jax_internals.bilinear_primitive(
    jax_internals.CPU_CONV,
    _convolve,
    transpose_lhs=_transpose_lhs,
    transpose_rhs=_transpose_rhs,
    batch=_batch,
    static=("strides", "padding", "lhs_dilation", "rhs_dilation"),
  )
except jax_internals.Changed as _error:
  _PROBLEM = str(_error)
