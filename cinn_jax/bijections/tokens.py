"""Pictures as tokens: patches, decorrelated by a fixed transform."""

import math

import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  check_image,
  zero_log_det,
)

# Transforms of the numbers of a patch.
TRANSFORMS = ("dct", "haar", "none")


class Patches(Bijection):
  """Patches as tokens: [B, H, W, C] to [B, H/p, W/p, p*p*C]; log_det is 0.

  Each channel of a patch goes through an orthonormal transform of its rows and
  columns. So its numbers are frequencies, which are less correlated than
  pixels: a coupling then splits frequencies instead of neighbours, and an
  autoregressive block loses less by treating them apart.

  Attributes:
    size: The side p of a patch, in pixels.
    transform: "dct", the cosine transform (DCT-II); "haar", for a size that is
      a power of 2; or "none", which keeps the pixels. Channel (p*k + l)*C + c
      of a token has vertical frequency k and horizontal frequency l.
  """

  size: int
  transform: str = "dct"

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(x)
    check_image(x, "Patches")
    b, height, width, c = x.shape
    p = self.size
    if height % p or width % p:
      raise ValueError(
        f"Patches of {p}x{p} pixels take heights and widths that are multiples"
        f" of {p}, got {height}x{width}: crop or resize the images."
      )
    x = x.reshape(b, height // p, p, width // p, p, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, height // p, width // p, p * p, c)
    z = jnp.einsum("bhwpc,kp->bhwkc", x, matrix, precision="highest")
    return z.reshape(*z.shape[:3], -1), zero_log_det(z)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(z)
    check_image(z, "Patches.inverse")
    b, rows, columns, features = z.shape
    p = self.size
    if features % p**2:
      raise ValueError(
        f"Patches.inverse takes a multiple of {p**2} channels, got shape"
        f" {z.shape}."
      )
    z = z.reshape(b, rows, columns, p * p, -1)
    x = jnp.einsum("bhwkc,kp->bhwpc", z, matrix, precision="highest")
    x = x.reshape(b, rows, columns, p, p, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, rows * p, columns * p, -1), zero_log_det(z)

  def _matrix(self, x: Array) -> Array:
    side = transform_matrix(self.transform, self.size)
    return jnp.asarray(np.kron(side, side), at_least_float32(x.dtype))


def transform_matrix(name: str, size: int) -> np.ndarray:
  """Returns the orthonormal matrix [size, size] of a transform of a line.

  Rows are frequencies, the lowest first.

  Raises:
    ValueError: for an unknown transform, or a size that it does not have.
  """
  if name not in TRANSFORMS:
    raise ValueError(
      f"Unknown transform {name!r}; there are {', '.join(TRANSFORMS)}."
    )
  if size < 1:
    raise ValueError(f"A patch has a side of at least 1 pixel, got {size}.")
  if name == "none":
    return np.eye(size)
  if name == "dct":
    k, i = np.indices((size, size))
    matrix = math.sqrt(2 / size) * np.cos(np.pi * (i + 0.5) * k / size)
    matrix[0] /= math.sqrt(2)
    return matrix
  if size & (size - 1):
    raise ValueError(f"Haar patches have a side of 2, 4, 8, ..., got {size}.")
  matrix = np.eye(1)
  while len(matrix) < size:
    means = np.kron(matrix, [1, 1])
    differences = np.kron(np.eye(len(matrix)), [1, -1])
    matrix = np.concatenate([means, differences]) / math.sqrt(2)
  return matrix
