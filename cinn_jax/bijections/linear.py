"""Mixing of channels between couplings, fixed or learned.

What is fixed lives in the collection "constants": saved with the model, never
trained, never counted.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import triangular_solve

from cinn_jax.bijections.base import (
  Bijection,
  at_least_float32,
  channels_log_det,
  zero_log_det,
)


class Permutation(Bijection):
  """A fixed random permutation of the channels; log_det is 0.

  Attributes:
    seed: None draws from the initialisation's random stream; an integer takes
      numpy's legacy generator at that seed, as the published cINNs do.
  """

  seed: int | None = None

  @nn.compact
  def _order(self, channels):
    def draw():
      if self.seed is None:
        return jax.random.permutation(self.make_rng("params"), channels)
      legacy = np.random.RandomState(self.seed)
      return jnp.asarray(legacy.permutation(channels), jnp.int32)

    order = self.variable("constants", "order", draw).value
    if len(order) != channels:
      raise ValueError(
        f"This Permutation is of {len(order)} channels, got {channels}."
      )
    return order

  def forward(self, x, cond=None):
    order = self._order(x.shape[-1])
    return jnp.take(x, order, axis=-1), zero_log_det(x)

  def inverse(self, z, cond=None):
    order = jnp.argsort(self._order(z.shape[-1]))
    return jnp.take(z, order, axis=-1), zero_log_det(z)


class Orthogonal(Bijection):
  """A fixed random orthogonal mixing of the channels, z = x Q; log_det is 0.

  The "soft permutation" of the ImageNet cINN (Ardizzone et al. 2019). Q is
  drawn uniformly over the orthogonal group.
  """

  @nn.compact
  def _matrix(self, x):
    def draw():
      return jax.random.orthogonal(self.make_rng("params"), x.shape[-1])

    matrix = self.variable("constants", "matrix", draw).value
    return matrix.astype(at_least_float32(x.dtype))

  def forward(self, x, cond=None):
    matrix = self._matrix(x)
    return jnp.matmul(x, matrix, precision="highest"), zero_log_det(x)

  def inverse(self, z, cond=None):
    matrix = self._matrix(z)
    return jnp.matmul(z, matrix.T, precision="highest"), zero_log_det(z)


class FullConv1x1(Bijection):
  """A learned mixing of the channels, z = x W with W a matrix as it is.

  log_det is H * W * ln|det W|, and going back takes W's inverse; both are
  computed anew each time, which grows as C^3 but not with the image. W starts
  as a random orthogonal matrix. (Kingma and Dhariwal 2018, Glow, section 3.2,
  before its LU form; what CAFLOW uses.)

  `InvertibleConv1x1` cannot become singular; this one can come near it.
  """

  @nn.compact
  def _matrix(self, x):
    channels = x.shape[-1]
    matrix = self.param("matrix", nn.initializers.orthogonal(), (channels,) * 2)
    return matrix.astype(at_least_float32(x.dtype))

  def forward(self, x, cond=None):
    matrix = self._matrix(x)
    z = jnp.matmul(x, matrix, precision="highest")
    return z, _matrix_log_det(matrix, x)

  def inverse(self, z, cond=None):
    matrix = self._matrix(z)
    inverse = jnp.linalg.inv(matrix)
    x = jnp.matmul(z, inverse, precision="highest")
    # What rounding left over, taken back once.
    rest = z - jnp.matmul(x, matrix, precision="highest")
    x += jnp.matmul(rest, inverse, precision="highest")
    return x, -_matrix_log_det(matrix, z)


def _matrix_log_det(matrix, x):
  positions = math.prod(x.shape[1:-1])
  return zero_log_det(x) + positions * jnp.linalg.slogdet(matrix)[1]


class InvertibleConv1x1(Bijection):
  """A learned mixing of the channels, z = x W with W = P L U.

  P is a fixed permutation, L lower triangular with a diagonal of 1, U upper
  triangular with a diagonal of fixed signs times exp(d). log_det is
  H * W * sum(d), and going back is two triangular solves. W starts as a random
  orthogonal matrix. (Kingma and Dhariwal 2018, Glow, section 3.2.)

  The one parameter, "lu" [C, C], holds what is free: L below the diagonal, U
  above it, d on it.
  """

  @nn.compact
  def _factors(self, x):
    """(order, L, U, d); row order[j] of W is row j of L U."""
    channels = x.shape[-1]
    # Every factor is of the same draw; restored ones need none.
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

  def forward(self, x, cond=None):
    order, lower, upper, log_scale = self._factors(x)
    product = jnp.matmul(lower, upper, precision="highest")
    ordered = jnp.take(x, order, axis=-1)
    z = jnp.matmul(ordered, product, precision="highest")
    return z, channels_log_det(log_scale, x)

  def inverse(self, z, cond=None):
    order, lower, upper, log_scale = self._factors(z)
    rows = z.reshape(-1, z.shape[-1]).astype(upper.dtype)
    rows = triangular_solve(upper, rows)
    rows = triangular_solve(lower, rows, lower=True, unit_diagonal=True)
    x = jnp.take(rows.reshape(z.shape), jnp.argsort(order), axis=-1)
    return x, -channels_log_det(log_scale, z)


def _factors_of_orthogonal(key, channels):
  """(order, sign, lu) of a matrix drawn uniformly over the orthogonal group."""
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
    reflections: k. With as many as channels every orthogonal matrix whose
      determinant is (-1)^k can be learned.
  """

  reflections: int

  @nn.compact
  def _factors(self, x):
    """(V, S^-1 V), [k, C] each."""
    if self.reflections < 1:
      raise ValueError(
        f"Householder takes 1 reflection or more, got {self.reflections}."
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

  def forward(self, x, cond=None):
    units, solved = self._factors(x)
    return _minus_product(x, units.T, solved), zero_log_det(x)

  def inverse(self, z, cond=None):
    units, solved = self._factors(z)
    return _minus_product(z, solved.T, units), zero_log_det(z)


class Cayley(Bijection):
  """A learned orthogonal mixing of the channels, z = x Q; log_det is 0.

  Q = (I - A)(I + A)^-1 with A antisymmetric, which reaches every rotation that
  turns no direction by half a turn (Cayley 1846; in invertible networks:
  Etmann et al. 2020, iUNets). The parameters are the C (C - 1) / 2 numbers of A
  below its diagonal, drawn so that Q starts far from the identity.
  """

  @nn.compact
  def _matrix(self, x):
    channels = x.shape[-1]
    count = channels * (channels - 1) // 2
    start = nn.initializers.normal(channels**-0.5)
    below = self.param("below_diagonal", start, (count,))
    below = below.astype(at_least_float32(x.dtype))
    lower = jnp.zeros((channels,) * 2, below.dtype)
    lower = lower.at[np.tril_indices(channels, -1)].set(below)
    skew, identity = lower - lower.T, jnp.eye(channels, dtype=below.dtype)
    # The two factors commute.
    return jnp.linalg.solve(identity + skew, identity - skew)

  def forward(self, x, cond=None):
    matrix = self._matrix(x)
    return jnp.matmul(x, matrix, precision="highest"), zero_log_det(x)

  def inverse(self, z, cond=None):
    matrix = self._matrix(z)
    return jnp.matmul(z, matrix.T, precision="highest"), zero_log_det(z)


def _minus_product(x, tall, wide):
  """x (I - tall wide) without the square matrix."""
  inner = jnp.matmul(x, tall, precision="highest")
  return x - jnp.matmul(inner, wide, precision="highest")


MIXINGS = {
  "permutation": Permutation,
  "orthogonal": Orthogonal,
  "full": FullConv1x1,
  "lu": InvertibleConv1x1,
  "cayley": Cayley,
}


def mixing_named(name: str):
  """The bijection that a config's `mixing` names.

  Raises:
    ValueError: for no name in `MIXINGS`.
  """
  if name not in MIXINGS:
    raise ValueError(
      f"Unknown mixing {name!r}; there are {', '.join(MIXINGS)}."
    )
  return MIXINGS[name]
