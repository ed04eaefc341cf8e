"""Pillow's bicubic resizing of 8-bit pictures, to the last bit, in JAX.

Most published low-resolution pictures were made by Pillow, and a consistency of
50 dB leaves no room for another filter's rounding. The filter is Keys' cubic
kernel with a = -0.5. If a picture shrinks, the kernel widens by the same
factor. Rows are resized first, then columns, in integer arithmetic with 22
fractional bits, and each pass rounds to 8 bits. (`jax.image.resize` has the
same kernel without this rounding, so it differs by one level here and there.
Since version 13, Pillow resizes columns first if a picture shrinks in height
and grows in width.)
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

_FRACTION_BITS = 22
_RADIUS = 2.0


def resize(levels: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Resizes pictures as `PIL.Image.resize(size, BICUBIC)` does.

  Args:
    levels: `[..., H, W, C]`, whole numbers in [0, 255] of any type.
    shape: New (H, W).

  Returns:
    `[..., *shape, C]` of the same type.
  """
  resized = levels.astype(jnp.int32)
  height, width = shape
  # A pass that keeps the size is skipped; its weights would be the identity.
  if width != levels.shape[-2]:
    resized = _pass("ow,...hwc->...hoc", levels.shape[-2], width, resized)
  if height != levels.shape[-3]:
    resized = _pass("oh,...hwc->...owc", levels.shape[-3], height, resized)
  return resized.astype(levels.dtype)


def _pass(subscripts, old, new, levels):
  # The total is at most 255 * 1.3 * 2^22, which fits into 32 bits.
  total = jnp.einsum(subscripts, jnp.asarray(weights(old, new)), levels)
  half = 1 << (_FRACTION_BITS - 1)
  return jnp.clip((total + half) >> _FRACTION_BITS, 0, 255)


@functools.cache
def weights(old: int, new: int) -> np.ndarray:
  """Returns the weights of old samples in new ones: int32 `[new, old]`.

  They have 22 fractional bits.
  """
  scale = old / new
  spread = max(scale, 1.0)
  matrix = np.zeros((new, old), np.int32)
  for row in range(new):
    center = (row + 0.5) * scale
    first = max(int(center - _RADIUS * spread + 0.5), 0)
    last = min(int(center + _RADIUS * spread + 0.5), old)
    values = [
      _cubic((k - center + 0.5) * (1 / spread)) for k in range(first, last)
    ]
    total = sum(values)
    for k, value in enumerate(values):
      fixed = value / total * (1 << _FRACTION_BITS)
      matrix[row, first + k] = int(fixed + math.copysign(0.5, fixed))
  return matrix


def _cubic(x):
  """Evaluates the kernel of Keys (1981), a = -0.5."""
  x = abs(x)
  if x < 1:
    return (1.5 * x - 2.5) * x * x + 1
  if x < 2:
    return ((-0.5 * x + 2.5) * x - 4) * x + 2
  return 0.0
