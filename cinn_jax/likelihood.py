"""Nats and bits: the one place where likelihoods are put together.

A flow z = f(x; c) with a standard-normal latent gives

  ln p(x | c) = ln N(z; 0, I) + log_det          [nats per example]
  bits/dim    = -ln p(x | c) / (D ln 2)          [D numbers in x]

so bits/dim has two parts that add up: the prior's, from z, and the log-det's.
x is continuous and its density depends on its units: if x = (v - offset) /
scale, then ln p(v) = ln p(x) - D ln(scale), which adds log2(scale) to
bits/dim. A density can exceed 1, so bits/dim of normalised data with little
noise is often negative; lower is better all the same.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

_LN_2 = math.log(2.0)
_HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)


class LogProb(NamedTuple):
  """Nats per example, each [B]; `total` is their sum."""

  prior: jax.Array
  log_det: jax.Array

  @property
  def total(self):
    return self.prior + self.log_det


def standard_normal(z):
  """ln N(z; 0, I) as [B], for an array [B, ...] or a tuple of them."""
  return sum(_standard_normal(leaf) for leaf in jax.tree.leaves(z))


def _standard_normal(z):
  z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
  dims = math.prod(z.shape[1:])
  squares = jnp.sum(z**2, axis=tuple(range(1, z.ndim)))
  return -0.5 * squares - dims * _HALF_LN_2PI


def log_prob(z, log_det) -> LogProb:
  """The parts of ln p(x | c) from what a flow's `forward` returned."""
  return LogProb(standard_normal(z), log_det)


def bits_per_dim(nats, dims: int):
  """Bits per dimension of log-probabilities in nats; lower is better."""
  return -nats / (dims * _LN_2)


def bits_by_part(prior, log_det, dims: int) -> dict:
  """Bits/dim in total and by part, of log-probabilities in nats."""
  return {
    "bits_per_dim": bits_per_dim(prior + log_det, dims),
    "bits_prior": bits_per_dim(prior, dims),
    "bits_log_det": bits_per_dim(log_det, dims),
  }


def rescale_bits_per_dim(bits, scales):
  """Bits/dim of v = scale * x + offset, from bits/dim of x.

  `scales` lists the scale of each channel; channels have equally many numbers.
  """
  return bits + sum(math.log2(scale) for scale in scales) / len(scales)


def nats_without_constant(bits):
  """mean(z^2) / 2 - mean(log_det) / D in nats/dim, from bits/dim.

  The loss that the authors' code prints (Ardizzone et al. 2019, published
  code): it leaves out ln(2 pi) / 2 per number. Lower is better too.
  """
  return bits * _LN_2 - _HALF_LN_2PI


def bits_from_nats_without_constant(nats):
  """Bits/dim from what the authors' code prints per number."""
  return (nats + _HALF_LN_2PI) / _LN_2
