"""Mixings of the channels between couplings, fixed or learned.

Fixed values live in the collection "constants": they are saved with the model,
never trained and not counted as parameters.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import triangular_solve

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  channels_log_det,
  zero_log_det,
)


class Permutation(Bijection):
  """A fixed random permutation of the channels; log_det is 0.

  Attributes:
    seed: Seed for numpy's legacy generator, as in the published cINNs. None
      draws from the random stream of the initialisation.
  """

  seed: int | None = None

  @nn.compact
  def _order(self, channels: int) -> Array:
    def draw():
      if self.seed is None:
        return jax.random.permutation(self.make_rng("params"), channels)
      legacy = np.random.RandomState(self.seed)
      return jnp.asarray(legacy.permutation(channels), jnp.int32)

    order = self.variable("constants", "order", draw).value
    if len(order) != channels:
      raise ValueError(
        f"This Permutation has {len(order)} channels, got {channels}."
      )
    return order

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    order = self._order(x.shape[-1])
    return jnp.take(x, order, axis=-1), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    order = jnp.argsort(self._order(z.shape[-1]))
    return jnp.take(z, order, axis=-1), zero_log_det(z)


class Orthogonal(Bijection):
  """A fixed random orthogonal mixing of the channels, z = x Q; log_det is 0.

  The "soft permutation" of the ImageNet cINN (Ardizzone et al. 2019). Q is
  drawn uniformly over the orthogonal group.
  """

  @nn.compact
  def _matrix(self, x: Array) -> Array:
    def draw():
      return jax.random.orthogonal(self.make_rng("params"), x.shape[-1])

    matrix = self.variable("constants", "matrix", draw).value
    return matrix.astype(at_least_float32(x.dtype))

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(x)
    return jnp.matmul(x, matrix, precision="highest"), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(z)
    return jnp.matmul(z, matrix.T, precision="highest"), zero_log_det(z)


class FullConv1x1(Bijection):
  """A learned mixing of the channels, z = x W with an unconstrained matrix W.

  log_det is H * W * ln|det W|, and going back takes W's inverse. Both are
  computed in every call, at a cost that grows as C^3 but not with the image. W
  starts as a random orthogonal matrix. (Kingma and Dhariwal 2018, Glow, section
  3.2, before its LU form; CAFLOW uses it.)

  `InvertibleConv1x1` cannot become singular; this one can come close to it.
  """

  @nn.compact
  def _matrix(self, x: Array) -> Array:
    channels = x.shape[-1]
    matrix = self.param("matrix", nn.initializers.orthogonal(), (channels,) * 2)
    return matrix.astype(at_least_float32(x.dtype))

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(x)
    z = jnp.matmul(x, matrix, precision="highest")
    return z, _matrix_log_det(matrix, x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(z)
    inverse = jnp.linalg.inv(matrix)
    x = jnp.matmul(z, inverse, precision="highest")
    # One step of refinement removes most of the rounding error.
    rest = z - jnp.matmul(x, matrix, precision="highest")
    x += jnp.matmul(rest, inverse, precision="highest")
    return x, -_matrix_log_det(matrix, z)


def _matrix_log_det(matrix: Array, x: Array) -> Array:
  positions = math.prod(x.shape[1:-1])
  return zero_log_det(x) + positions * jnp.linalg.slogdet(matrix)[1]


class InvertibleConv1x1(Bijection):
  """A learned mixing of the channels, z = x W with W = P L U.

  P is a fixed permutation, L lower triangular with a diagonal of 1, U upper
  triangular with a diagonal of fixed signs times exp(d). log_det is
  H * W * sum(d), and going back is two triangular solves. W starts as a random
  orthogonal matrix. (Kingma and Dhariwal 2018, Glow, section 3.2.)

  The only parameter, "lu" [C, C], holds the free numbers: L below the diagonal,
  U above it, d on it.
  """

  @nn.compact
  def _factors(self, x: Array) -> tuple[Array, Array, Array, Array]:
    """Returns (order, L, U, d); row order[j] of W is row j of L U."""
    channels = x.shape[-1]
    # All factors come from one draw; restored ones need no draw.
    initializing = self.is_initializing()
    key = self.make_rng("params") if initializing else jax.random.key(0)

    def start(_=None):
      return _factors_of_orthogonal(key, channels)

    order = self.variable("constants", "order", lambda: start()[0]).value
    sign = self.variable("constants", "sign", lambda: start()[1]).value
    lu = self.param("lu", lambda _: start()[2])
    lu = lu.astype(at_least_float32(x.dtype))
    log_scale = jnp.diagonal(lu)
    lower = jnp.tril(lu, -1) + jnp.eye(channels, dtype=lu.dtype)
    scale = sign.astype(lu.dtype) * jnp.exp(log_scale)
    upper = jnp.triu(lu, 1) + jnp.diag(scale)
    return order, lower, upper, log_scale

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    order, lower, upper, log_scale = self._factors(x)
    product = jnp.matmul(lower, upper, precision="highest")
    ordered = jnp.take(x, order, axis=-1)
    z = jnp.matmul(ordered, product, precision="highest")
    return z, channels_log_det(log_scale, x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    order, lower, upper, log_scale = self._factors(z)
    rows = z.reshape(-1, z.shape[-1]).astype(upper.dtype)
    rows = triangular_solve(upper, rows)
    rows = triangular_solve(lower, rows, lower=True, unit_diagonal=True)
    x = jnp.take(rows.reshape(z.shape), jnp.argsort(order), axis=-1)
    return x, -channels_log_det(log_scale, z)


def _factors_of_orthogonal(
  key: Array, channels: int
) -> tuple[Array, Array, Array]:
  """Draws an orthogonal matrix uniformly and returns its (order, sign, lu)."""
  matrix = jax.random.orthogonal(key, channels)
  lu, _, order = jax.lax.linalg.lu(matrix)
  scale = jnp.diagonal(lu)
  log_scale = jnp.diag(jnp.log(jnp.abs(scale)))
  lu = jnp.where(jnp.eye(channels, dtype=bool), log_scale, lu)
  return order, jnp.sign(scale), lu


class Householder(Bijection):
  """A learned orthogonal mixing of the channels, z = x H_1 ... H_k.

  H_i = I - 2 v_i v_i^T / |v_i|^2 reflects along a learned vector; log_det is 0.
  (Tomczak and Welling 2016.) The product costs no loop: with the unit vectors
  as rows of V [k, C] it is I - V^T S^-1 V, where S is V V^T above the diagonal
  and half of it on the diagonal (Joffrain et al. 2006, the UT transform).

  Attributes:
    reflections: The number k. With as many reflections as channels, every
      orthogonal matrix with determinant (-1)^k can be learned.
  """

  reflections: int

  @nn.compact
  def _factors(self, x: Array) -> tuple[Array, Array]:
    """Returns (V, S^-1 V), [k, C] each."""
    if self.reflections < 1:
      raise ValueError(
        f"Householder needs 1 reflection or more, got {self.reflections}."
      )
    shape = (self.reflections, x.shape[-1])
    vectors = self.param("vectors", nn.initializers.normal(1.0), shape)
    vectors = vectors.astype(at_least_float32(x.dtype))
    square = jnp.sum(vectors**2, axis=-1, keepdims=True)
    # A vector of zeros reflects nothing.
    is_zero = square < jnp.finfo(vectors.dtype).tiny
    units = vectors * jax.lax.rsqrt(jnp.where(is_zero, 1, square))
    products = jnp.matmul(units, units.T, precision="highest")
    ones = jnp.where(is_zero[:, 0], 1, jnp.diagonal(products))
    triangle = jnp.triu(products, 1) + jnp.diag(ones / 2)
    return units, triangular_solve(triangle, units, left_side=True)

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    units, solved = self._factors(x)
    return _minus_product(x, units.T, solved), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    units, solved = self._factors(z)
    return _minus_product(z, solved.T, units), zero_log_det(z)


class Cayley(Bijection):
  """A learned orthogonal mixing of the channels, z = x Q; log_det is 0.

  Q = (I - A)(I + A)^-1 with A antisymmetric, which covers every rotation that
  turns no direction by half a turn (Cayley 1846; in invertible networks:
  Etmann et al. 2020, iUNets). The parameters are the C (C - 1) / 2 numbers of A
  below its diagonal, initialised so that Q starts far from the identity.
  """

  @nn.compact
  def _matrix(self, x: Array) -> Array:
    channels = x.shape[-1]
    count = channels * (channels - 1) // 2
    start = nn.initializers.normal(channels**-0.5)
    below = self.param("below_diagonal", start, (count,))
    below = below.astype(at_least_float32(x.dtype))
    lower = jnp.zeros((channels,) * 2, below.dtype)
    lower = lower.at[np.tril_indices(channels, -1)].set(below)
    skew, identity = lower - lower.T, jnp.eye(channels, dtype=below.dtype)
    # The two factors commute, so this is Q.
    return jnp.linalg.solve(identity + skew, identity - skew)

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(x)
    return jnp.matmul(x, matrix, precision="highest"), zero_log_det(x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    matrix = self._matrix(z)
    return jnp.matmul(z, matrix.T, precision="highest"), zero_log_det(z)


def _minus_product(x: Array, tall: Array, wide: Array) -> Array:
  """Returns x (I - tall wide) without forming the square matrix."""
  inner = jnp.matmul(x, tall, precision="highest")
  return x - jnp.matmul(inner, wide, precision="highest")


# Mixings that a config can name in `mixing`: fixed ones first, then learned.
MIXINGS: dict[str, type[Bijection]] = {
  "permutation": Permutation,
  "orthogonal": Orthogonal,
  "full": FullConv1x1,
  "lu": InvertibleConv1x1,
  "cayley": Cayley,
}


def mixing_named(name: str) -> type[Bijection]:
  """Returns the class of the mixing called `name`, as in a config's `mixing`.

  Its instances need no arguments and keep the shape [B, ..., C] of their input.

  Raises:
    ValueError: If `name` is not in `MIXINGS`.
  """
  if name not in MIXINGS:
    raise ValueError(
      f"Unknown mixing {name!r}; there are {', '.join(MIXINGS)}."
    )
  return MIXINGS[name]
