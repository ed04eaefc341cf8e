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


def standard_normal(z: Any) -> jax.Array:
  """Returns ln N(z; 0, I) [B] for an array [B, ...] or a pytree of arrays."""
  return jnp.asarray(sum(map(_standard_normal, jax.tree.leaves(z))))


def _standard_normal(z: jax.Array) -> jax.Array:
  z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
  dims = math.prod(z.shape[1:])
  squares = jnp.sum(z**2, axis=tuple(range(1, z.ndim)))
  return -0.5 * squares - dims * _HALF_LN_2PI


def log_prob(z: Any, log_det: jax.Array) -> LogProb:
  """Returns the parts of ln p(x | c) for the output of a flow's `forward`."""
  return LogProb(standard_normal(z), log_det)


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
