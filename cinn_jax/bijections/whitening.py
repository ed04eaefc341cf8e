"""A linear start for flows of vectors: regression on the condition."""

from typing import NamedTuple

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
  zero_log_det,
)
from cinn_jax.bijections.conditions import check_condition

# Ridge penalties, relative to the variance of the condition, of which the rows
# choose one.
_PENALTIES = tuple(10.0**k for k in range(-6, 3))
# Smallest share of the rows' freedom that the weights leave.
_LEAST_LEFT = 0.1
# Smallest share of a column's variance that a condition may leave.
_LEAST_SHARE = 1e-6


class ConditionalWhitening(Bijection):
  """Removes what a linear regression on the condition explains.

    z = (x - bias - c W) R,  log_det = ln det R

  with vectors x [B, C], the condition's vectors c and an upper triangular R.
  The first batch sets all of them: W by ridge regression, whose penalty
  minimizes generalized cross-validation (Golub, Heath and Wahba 1979), and R so
  that the residuals have unit covariance. Then the first batch's z are what a
  linear Gaussian model of x given c leaves, and with few rows there is little
  else to learn. All are trained.

  Attributes:
    regress: False leaves out W, for a condition that is not data yet, such as
      the features of a network before its training.
  """

  regress: bool = True

  @nn.compact
  def _line(self, x: Array, cond: Condition) -> tuple[Array, Array, Array]:
    """Returns the mean [B or 1, C], R [C, C] and its log-diagonal [C]."""
    leaves = self._leaves(x, cond)
    measure = _regress if self.is_initializing() else _blank
    start = measure(x, leaves)

    def param(name, value):
      return self.param(name, lambda _: value)

    mean = param("bias", start.bias)[None]
    for i, (leaf, weights) in enumerate(
      zip(leaves, start.weights, strict=True)
    ):
      weights = param(f"condition_{i}", weights)
      mean = mean + jnp.matmul(leaf, weights, precision="highest")
    log_scale = param("log_scale", start.log_scale)
    mixing = param("mixing", start.mixing)
    matrix = jnp.triu(mixing, 1) + jnp.diag(jnp.exp(log_scale))
    return mean, matrix, log_scale

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    mean, matrix, log_scale = self._line(x, cond)
    z = jnp.matmul(x - mean, matrix, precision="highest")
    return z, zero_log_det(x) + jnp.sum(log_scale)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    mean, matrix, log_scale = self._line(z, cond)
    z = z.astype(matrix.dtype)
    x = triangular_solve(matrix, z, left_side=False, lower=False)
    return x + mean, zero_log_det(z) - jnp.sum(log_scale)

  def _leaves(self, x: Array, cond: Condition) -> list[Array]:
    """Returns the condition's vectors [B, Cc].

    Raises:
      ValueError: for data or a condition of other kinds than vectors, or
        another condition than that of the initialisation.
    """
    if x.ndim != 2:
      raise ValueError(
        f"ConditionalWhitening takes vectors [B, C], got shape {x.shape}."
      )
    check_condition(x, cond)
    leaves = jax.tree.leaves(cond) if self.regress else []
    if any(leaf.ndim != 2 for leaf in leaves):
      raise ValueError(
        "ConditionalWhitening takes vectors [B, C] as its condition, got"
        f" {[leaf.shape for leaf in leaves]}: average maps over positions."
      )
    if not self.is_initializing():
      params = self.variables.get("params", {})
      count = sum(name.startswith("condition_") for name in params)
      wanted = [params[f"condition_{i}"].shape[0] for i in range(count)]
      got = [leaf.shape[-1] for leaf in leaves]
      if wanted != got:
        raise ValueError(
          f"This flow was initialised with {_describe(wanted)}, and is given"
          f" {_describe(got)}."
        )
    return leaves


def _describe(channels):
  if not channels:
    return "no condition"
  return f"a condition of {' + '.join(map(str, channels))} channels"


class _Start(NamedTuple):
  """First values of the parameters; one array of weights per leaf."""

  weights: list[Array]
  bias: Array
  log_scale: Array
  mixing: Array


def _blank(x: Array, leaves: list[Array]) -> _Start:
  """Returns zeros of the right shapes."""
  dim = x.shape[-1]
  weights = [jnp.zeros((leaf.shape[-1], dim)) for leaf in leaves]
  return _Start(weights, *map(jnp.zeros, (dim, dim, (dim, dim))))


def _regress(x: Array, leaves: list[Array]) -> _Start:
  """Returns the regression of x [N, C] on vectors [N, Cc]."""
  x = x.astype(at_least_float32(x.dtype))
  rows = len(x)
  cond = jnp.concatenate([jnp.zeros((rows, 0), x.dtype), *leaves], axis=1)
  means = [jnp.mean(each, axis=0, keepdims=True) for each in (x, cond)]
  x, cond = x - means[0], cond - means[1]
  weights, freedom = _ridge(x, cond)
  residual = x - jnp.matmul(cond, weights, precision="highest")
  matrix = _whiten(residual, jnp.var(x, axis=0), rows - 1 - freedom)
  log_scale = jnp.log(jnp.diag(matrix))
  bias = means[0] - jnp.matmul(means[1], weights, precision="highest")
  ends = np.cumsum([leaf.shape[-1] for leaf in leaves])
  parts = jnp.split(weights, ends[:-1]) if leaves else []
  return _Start(parts, bias[0], log_scale, jnp.triu(matrix, 1))


def _ridge(x: Array, cond: Array) -> tuple[Array, Array]:
  """Returns weights [Cc, C] and their effective number per column of x."""
  rows = len(x)
  if not cond.shape[1]:
    return jnp.zeros((0, x.shape[1]), x.dtype), jnp.zeros((), x.dtype)
  values, vectors = jnp.linalg.eigh(_product(cond, cond) / rows)
  values = jnp.maximum(values, 0)
  scale = jnp.mean(values)
  scale = jnp.where(scale > 0, scale, 1)
  turned = jnp.matmul(vectors.T, _product(cond, x) / rows, precision="highest")
  variance = jnp.maximum(jnp.var(x, axis=0), jnp.finfo(x.dtype).tiny)

  def score(penalty):
    below = values + penalty * scale
    explained = jnp.sum(
      turned**2 * ((below + penalty * scale) / below**2)[:, None], axis=0
    )
    share = jnp.maximum(1 - explained / variance, _LEAST_SHARE)
    freedom = jnp.sum(values / below)
    left = 1 - (1 + freedom) / rows
    loss = jnp.mean(jnp.log(share)) - 2 * jnp.log(jnp.maximum(left, 1e-6))
    # As many weights as rows fit anything.
    return jnp.where(left < _LEAST_LEFT, jnp.inf, loss), freedom

  losses, freedoms = jax.vmap(score)(jnp.asarray(_PENALTIES, x.dtype))
  best = jnp.argmin(losses)
  penalty = jnp.asarray(_PENALTIES, x.dtype)[best]
  shrunk = turned / (values + penalty * scale)[:, None]
  return jnp.matmul(vectors, shrunk, precision="highest"), freedoms[best]


def _whiten(residual: Array, variance: Array, freedom: Array) -> Array:
  """Returns the upper triangular R for which residual R has unit covariance."""
  rows, dim = residual.shape
  covariance = _product(residual, residual) / jnp.maximum(freedom, 1)
  # A column that does not vary, as in a batch of zeros, stays as it is.
  own = jnp.maximum(jnp.diag(covariance), _LEAST_SHARE * variance)
  own = jnp.where(variance > 0, own, 1)
  # With few rows, correlations are mostly chance.
  shared = covariance * (rows / (rows + dim + 1))
  covariance = jnp.where(jnp.eye(dim, dtype=bool), own, shared)
  lower = jnp.linalg.cholesky(covariance)
  identity = jnp.eye(dim, dtype=residual.dtype)
  return triangular_solve(lower, identity, left_side=True, lower=True).T


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a.T, b, precision="highest")
