"""Likelihoods in nats and bits: everything about their units is here.

A flow z = f(x; c) with a standard normal latent gives

  ln p(x | c) = ln N(z; 0, I) + log_det          [nats per example]
  bits/dim    = -ln p(x | c) / (D ln 2)          [D numbers in x]

so bits/dim is the sum of two parts: the prior's, from z, and the log-det's.
x is continuous and its density depends on its units: if x = (v - offset) /
scale, then ln p(v) = ln p(x) - D ln(scale), which adds log2(scale) to
bits/dim. A density can exceed 1, so bits/dim of normalised data with little
noise is often negative. Lower is still better.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_LN_2 = math.log(2.0)
_HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)

# Log-probabilities or bits: JAX or numpy arrays, or plain numbers.
Values = Any


class LogProb(NamedTuple):
  """Nats per example, each [B]; `total` is their sum."""

  prior: jax.Array
  log_det: jax.Array

  @property
  def total(self) -> jax.Array:
    return self.prior + self.log_det


@dataclasses.dataclass(frozen=True)
class StudentT:
  """A base with heavy tails: the multivariate Student's t in place of N(0, I).

  A row far from the data then costs a logarithm of its distance, not a square,
  so few such rows cannot steer the training. (Alexanderson and Henter 2020,
  "Robust model training and generalisation with Studentising flows".)

  All numbers of an example share one scale: z = n sqrt(freedom / s), with n
  from N(0, I) and s from chi-squared.

  Attributes:
    freedom: Degrees of freedom, above 0. The fewer, the heavier the tails;
      infinitely many would be N(0, I).

  Raises:
    ValueError: if `freedom` is not a finite number above 0.
  """

  freedom: float

  def __post_init__(self) -> None:
    try:
      freedom = float(self.freedom)
    except (TypeError, ValueError):
      freedom = math.nan
    if not 0 < freedom < math.inf:
      raise ValueError(
        f"StudentT's freedom must be a finite number above 0, got"
        f" {self.freedom!r}."
      )
    object.__setattr__(self, "freedom", freedom)

  def log_prob(self, z: Any) -> jax.Array:
    """Returns ln p(z) [B] for an array [B, ...] or a pytree of arrays."""
    leaves = [_at_least_float32(leaf) for leaf in jax.tree.leaves(z)]
    dims = sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    squares = jnp.asarray(sum(map(_squares, leaves)))
    half = 0.5 * (self.freedom + dims)
    constant = math.lgamma(half) - math.lgamma(0.5 * self.freedom)
    constant -= 0.5 * dims * math.log(self.freedom * math.pi)
    return constant - half * jnp.log1p(squares / self.freedom)

  def draw_scales(
    self, rng: jax.Array, shape: tuple[int, ...], dtype: Any
  ) -> jax.Array:
    """Draws the factors of `shape` that turn N(0, I) into this base."""
    squares = jax.random.chisquare(rng, self.freedom, shape, dtype)
    return jnp.sqrt(self.freedom / squares)


def base_log_prob(z: Any, base: StudentT | None = None) -> jax.Array:
  """Returns ln p(z) [B] under a flow's base; None is N(0, I)."""
  return standard_normal(z) if base is None else base.log_prob(z)


def standard_normal(z: Any) -> jax.Array:
  """Returns ln N(z; 0, I) [B] for an array [B, ...] or a pytree of arrays."""
  return jnp.asarray(sum(map(_standard_normal, jax.tree.leaves(z))))


def _standard_normal(z: jax.Array) -> jax.Array:
  z = _at_least_float32(z)
  dims = math.prod(z.shape[1:])
  return -0.5 * _squares(z) - dims * _HALF_LN_2PI


def _at_least_float32(z: jax.Array) -> jax.Array:
  return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def _squares(z: jax.Array) -> jax.Array:
  return jnp.sum(z**2, axis=tuple(range(1, z.ndim)))


def log_prob(
  z: Any, log_det: jax.Array, base: StudentT | None = None
) -> LogProb:
  """Returns the parts of ln p(x | c) for the output of a flow's `forward`.

  Args:
    z: The latents, an array [B, ...] or a pytree of arrays.
    log_det: Log-determinants [B].
    base: Distribution of the latents; None is N(0, I).
  """
  return LogProb(base_log_prob(z, base), log_det)


def bits_per_dim(nats: Values, dims: int) -> Values:
  """Converts log-probabilities in nats to bits/dim; lower is better."""
  return -nats / (dims * _LN_2)


def bits_by_part(
  prior: Values, log_det: Values, dims: int
) -> dict[str, Values]:
  """Converts the parts of log-probabilities in nats to bits/dim.

  Returns:
    "bits_per_dim", the total; its parts "bits_prior" and "bits_log_det".
  """
  return {
    "bits_per_dim": bits_per_dim(prior + log_det, dims),
    "bits_prior": bits_per_dim(prior, dims),
    "bits_log_det": bits_per_dim(log_det, dims),
  }


def rescale_bits_per_dim(bits: Values, scales: Sequence[float]) -> Values:
  """Returns bits/dim of v = scale * x + offset, given bits/dim of x.

  Args:
    bits: Bits/dim of x.
    scales: The scale of each channel. All channels have the same size.
  """
  return bits + sum(math.log2(scale) for scale in scales) / len(scales)


def nats_without_constant(bits: Values) -> Values:
  """Returns mean(z^2) / 2 - mean(log_det) / D in nats/dim, given bits/dim.

  This is the loss that the authors' code prints (Ardizzone et al. 2019,
  published code). It leaves out ln(2 pi) / 2 per number. Lower is better.
  """
  return bits * _LN_2 - _HALF_LN_2PI


def bits_from_nats_without_constant(nats: Values) -> Values:
  """Returns bits/dim, given the loss that the authors' code prints."""
  return (nats + _HALF_LN_2PI) / _LN_2
