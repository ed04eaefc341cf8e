"""A 2-D convolution whose gradients are quick inside a loop on a CPU.

XLA's CPU compiler brings convolutions into the one layout that has a fast
kernel, NHWC with HWIO weights, but not those inside a loop's body. JAX's
gradients of a convolution have other layouts, so in scanned blocks they would
run on a naive loop, 10 to 60 times slower. `cpu_conv_p` is a convolution that
always has this layout, and so have its derivatives, of any order and in either
mode. Other devices get `jax.lax.conv_general_dilated` itself.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_PARAMS = ("strides", "padding", "lhs_dilation", "rhs_dilation")
# Bytes of weights that stay in a processor's cache while they are used; with
# 32 MiB of it, 4 MiB were quickest, and all 32 MiB five times slower.
_CACHED = 4 * 2**20
# With fewer output channels, a matrix product's registers are not full.
_FEW = 16
LAYOUT_NUMBERS = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, _LAYOUT)


def conv_general_dilated(
  lhs,
  rhs,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers=None,
  feature_group_count: int = 1,
  precision=None,
):
  """As `jax.lax.conv_general_dilated`; what `nn.Conv` takes in its place."""
  lhs_dilation = tuple(lhs_dilation or (1, 1))
  rhs_dilation = tuple(rhs_dilation or (1, 1))
  is_plain = (
    dimension_numbers == LAYOUT_NUMBERS
    and feature_group_count == 1
    and precision is None
    and jax.default_backend() == "cpu"
  )
  if not is_plain:
    return lax.conv_general_dilated(
      lhs,
      rhs,
      window_strides,
      padding,
      lhs_dilation,
      rhs_dilation,
      dimension_numbers,
      feature_group_count,
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
    lhs, rhs, strides, padding, lhs_dilation, rhs_dilation, _LAYOUT
  )


def _abstract(lhs, rhs, **params):
  out = jax.eval_shape(functools.partial(_convolve, **params), lhs, rhs)
  return jax.core.ShapedArray(out.shape, out.dtype)


def _transpose_lhs(
  cotangent, lhs, rhs, *, strides, padding, lhs_dilation, rhs_dilation
):
  pads = []
  for low, full, kernel, out in _extents(
    lhs.aval.shape,
    rhs.shape,
    cotangent.shape,
    strides,
    padding,
    lhs_dilation,
    rhs_dilation,
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
  cotangent, lhs, rhs, *, strides, padding, lhs_dilation, rhs_dilation
):
  extents = list(
    _extents(
      lhs.shape,
      rhs.aval.shape,
      cotangent.shape,
      strides,
      padding,
      lhs_dilation,
      rhs_dilation,
    )
  )
  # Channels take the part of the batch, and the batch that of channels. Either
  # array can stand in for weights; as one, few channels leave a kernel idle.
  if cotangent.shape[3] < min(_FEW, lhs.shape[3]):
    flipped = _correlate(
      *(cotangent, lhs, strides, lhs_dilation, rhs_dilation),
      [
        (kernel - 1 - low, full + low - out)
        for low, full, kernel, out in extents
      ],
    )
    return jnp.flip(flipped, (1, 2)).transpose(1, 2, 3, 0)
  gradient = _correlate(
    *(lhs, cotangent, lhs_dilation, strides, rhs_dilation),
    [
      (low, out + kernel - full - 1 - low) for low, full, kernel, out in extents
    ],
  )
  return gradient.transpose(1, 2, 0, 3)


def _correlate(data, weights, data_dilation, weights_dilation, strides, pads):
  """The sum over the batch of two arrays' products: [Cd, h, w, Cw].

  `weights` are as large as a batch: in parts that fit a processor's cache they
  are read from there.
  """
  batch = len(data)
  fewest = -(-weights.size * weights.dtype.itemsize // _CACHED)
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


def _extents(lhs, rhs, out, strides, padding, lhs_dilation, rhs_dilation):
  """Per spatial axis: low padding, and dilated input, kernel and output."""
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
  if rhs_axis is None:  # Into the batch.
    lhs = jnp.moveaxis(lhs, lhs_axis, 0)
    merged = lhs.reshape(-1, *lhs.shape[2:])
    out = cpu_conv_p.bind(merged, rhs, **params)
    return out.reshape(*lhs.shape[:2], *out.shape[1:]), 0
  if lhs_axis is None:  # Into the output's channels.
    rhs = jnp.moveaxis(rhs, rhs_axis, 3)
    merged = rhs.reshape(*rhs.shape[:3], -1)
    out = cpu_conv_p.bind(lhs, merged, **params)
    return out.reshape(*out.shape[:3], *rhs.shape[3:]), 3
  pairs = jnp.moveaxis(lhs, lhs_axis, 0), jnp.moveaxis(rhs, rhs_axis, 0)
  return lax.map(lambda pair: cpu_conv_p.bind(*pair, **params), pairs), 0


cpu_conv_p = Primitive("cpu_conv")
cpu_conv_p.def_impl(jax.jit(_convolve, static_argnames=_PARAMS))
cpu_conv_p.def_abstract_eval(_abstract)
mlir.register_lowering(
  cpu_conv_p, mlir.lower_fun(_convolve, multiple_results=False)
)
ad.defbilinear(cpu_conv_p, _transpose_lhs, _transpose_rhs)
batching.primitive_batchers[cpu_conv_p] = _batch
