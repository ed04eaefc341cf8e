"""Log-scales of affine maps: clamped, applied and reported."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, PyTree

# Soft clamps g(s) of the log-scale; |g| stays below alpha (0.1 % below for
# 0.636 instead of 2/pi). "sigmoid" and "jet" stay above -alpha, and below
# ln(1 + exp(-alpha)) and ln(2 + exp(-alpha)). Six of these forms are in
# published use:
CLAMPS: dict[str, Callable[[Array, float], Array]] = {
  # The paper (Ardizzone et al. 2019): slope 2/pi at 0 for every alpha.
  "cinn_paper": lambda s, alpha: alpha * (2 / jnp.pi) * jnp.arctan(s / alpha),
  # The code published with it, which rounds 2/pi.
  "cinn_code": lambda s, alpha: alpha * 0.636 * jnp.arctan(s / alpha),
  # FrEIA since February 2021, and CAFLOW: the slope at 0 grows with alpha.
  "freia_2021": lambda s, alpha: alpha * 0.636 * jnp.arctan(s),
  # Scales of sigmoid(s + 2) + exp(-alpha), which start below 1: Glow has it
  # without a floor (alpha infinite), SRFlow with 1e-4 (alpha 9.21).
  "sigmoid": lambda s, alpha: jnp.logaddexp(jax.nn.log_sigmoid(s + 2), -alpha),
  # STARFlow's soft clip: slope 1 at 0 for every alpha.
  "tanh": lambda s, alpha: alpha * jnp.tanh(s / alpha),
  # Jet: scales of 2 sigmoid(s), so below 2, plus a floor of exp(-alpha).
  "jet": lambda s, alpha: jnp.logaddexp(
    math.log(2) + jax.nn.log_sigmoid(s), -alpha
  ),
  # Not published: scales between exp(-alpha) and 1, halfway between the two at
  # 0. Couplings never stretch going forward, and going back they stretch by at
  # most exp(alpha).
  "contracting": lambda s, alpha: jnp.log1p(jnp.expm1(-alpha) * nn.sigmoid(-s)),
}


def soft_clamp(name: str, raw: Array, alpha: float) -> Array:
  """Bounds what a network returned by `CLAMPS[name]`, giving a log-scale.

  Raises:
    ValueError: If `name` is not in `CLAMPS`.
  """
  if name not in CLAMPS:
    raise ValueError(f"Unknown clamp {name!r}; there are {', '.join(CLAMPS)}.")
  return CLAMPS[name](raw, alpha)


def affine(
  value: Array, log_scale: Array, shift: Array, *, inverse: bool
) -> Array:
  """Returns value * exp(log_scale) + shift, or its inverse."""
  if inverse:
    return (value - shift) * jnp.exp(-log_scale)
  return value * jnp.exp(log_scale) + shift


def report_log_scale(module: nn.Module, log_scale: Array) -> None:
  """Sows the largest absolute log-scale into the collection "diagnostics"."""
  module.sow(
    "diagnostics",
    "max_log_scale",
    jnp.max(jnp.abs(log_scale)),
    reduce_fn=jnp.maximum,
    init_fn=lambda: jnp.zeros((), log_scale.dtype),
  )


def max_log_scale(diagnostics: PyTree) -> Array:
  """Returns the largest absolute log-scale of a flow, or 0 if it reports none.

  Args:
    diagnostics: The collection "diagnostics" that `forward` or `inverse`
      filled, as `report_log_scale` does; {} for a flow without couplings.

  Returns:
    A scalar.
  """
  largest = [jnp.max(leaf) for leaf in jax.tree.leaves(diagnostics)]
  return jnp.max(jnp.stack([jnp.zeros(()), *largest]))
