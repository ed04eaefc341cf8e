"""Maps of each number alone: to a standard scale, and from bounded data."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import (
  Bijection,
  at_least_float32,
  channels_log_det,
  per_channel,
  sum_per_example,
)


class Standardize(Bijection):
  """z = (x - mean) / std with fixed numbers; log_det is -H*W*sum(ln std).

  Attributes:
    mean, std: one number, or one per channel, in the data's units.
  """

  mean: float | Sequence[float]
  std: float | Sequence[float]

  def _mean_and_std(self, x):
    dtype = at_least_float32(x.dtype)
    mean = _by_channel("Standardize's mean", self.mean, x)
    std = _by_channel("Standardize's std", self.std, x)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
      raise ValueError(
        f"Standardize takes finite numbers, got mean {self.mean}, std"
        f" {self.std}."
      )
    if not (std > 0).all():
      raise ValueError(f"Standardize's std is above 0, got {self.std}.")
    return jnp.asarray(mean, dtype), jnp.asarray(std, dtype)

  def forward(self, x, cond=None):
    mean, std = self._mean_and_std(x)
    z = (x - per_channel(mean, x)) / per_channel(std, x)
    return z, -channels_log_det(jnp.log(std), x)

  def inverse(self, z, cond=None):
    mean, std = self._mean_and_std(z)
    x = z * per_channel(std, z) + per_channel(mean, z)
    return x, channels_log_det(jnp.log(std), z)


class Bounded(Bijection):
  """From bounded data to the real line, so that densities are of the data.

    low and high  z = logit((x - low) / (high - low))
    low alone     z = ln(exp(x - low) - 1), the inverse of softplus
    high alone    z = -ln(exp(high - x) - 1)
    neither       z = x

  Softplus, not exp, carries a one-sided bound: its slope is at most 1, so a far
  latent is a large number and never overflows. It counts in units of 1: for
  data of another scale, put `Standardize` before it.

  `inverse` stays strictly inside the bounds, by rounding if need be. Data on or
  outside a bound have no density: `forward` raises ValueError where it can see
  the values; under `jit` it returns an infinite or NaN log_det. While variables
  are initialised, where zeros may stand in for data, such values are taken to
  the latent 0.

  Attributes:
    low, high: one number or None for all channels, or one of them per channel,
      in the data's units; None leaves that side open.
  """

  low: float | Sequence[float | None] | None = None
  high: float | Sequence[float | None] | None = None

  def forward(self, x, cond=None):
    low, high = self._bounds(x)
    x = x.astype(low.dtype)
    inside = (x > low) & (x < high)
    if self.is_initializing():
      middle = _from_line(jnp.zeros_like(x), low, high)[0]
      x = jnp.where(inside, x, middle)
    elif not isinstance(inside, jax.core.Tracer):
      _check_inside(x, inside, self.low, self.high)
    z, log_slope = _to_line(x, low, high)
    return z, sum_per_example(log_slope)

  def inverse(self, z, cond=None):
    low, high = self._bounds(z)
    x, log_slope = _from_line(z.astype(low.dtype), low, high)
    return x, sum_per_example(log_slope)

  def _bounds(self, x):
    """Both as numpy [1, ..., C]; infinite where there is none."""
    low = _by_channel("Bounded's low", self.low, x, absent=-np.inf)
    high = _by_channel("Bounded's high", self.high, x, absent=np.inf)
    if not (low < high).all():
      raise ValueError(
        "Bounded takes a low below its high in every channel, got low"
        f" {self.low}, high {self.high}."
      )
    dtype = at_least_float32(x.dtype)
    return [per_channel(bound.astype(dtype), x) for bound in (low, high)]


def _to_line(x, low, high):
  """z and ln dz/dx."""
  has_low, has_high = np.isfinite(low), np.isfinite(high)
  above = jnp.where(has_low, x - low, 1)
  below = jnp.where(has_high, high - x, 1)
  two_sided = jnp.log(above) - jnp.log(below)
  log_width = np.log(_width(low, high))
  two_sided_slope = log_width - jnp.log(above) - jnp.log(below)
  distance = jnp.where(has_low, above, below)
  one_sided_slope = -jnp.log(-jnp.expm1(-distance))
  one_sided = _direction(has_low) * (distance - one_sided_slope)
  return (
    _choose(has_low, has_high, two_sided, one_sided, x),
    _choose(has_low, has_high, two_sided_slope, one_sided_slope, 0),
  )


def _from_line(z, low, high):
  """x and ln dx/dz."""
  has_low, has_high = np.isfinite(low), np.isfinite(high)
  start, end = np.where(has_low, low, 0), np.where(has_high, high, 0)
  width = _width(low, high)
  # Each half is exact towards its own bound.
  part = width * jax.nn.sigmoid(-jnp.abs(z))
  two_sided = jnp.where(z < 0, start + part, end - part)
  both_slopes = jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)
  two_sided_slope = np.log(width) + both_slopes
  direction = _direction(has_low)
  distance = jax.nn.softplus(direction * z)
  one_sided = jnp.where(has_low, start + distance, end - distance)
  one_sided_slope = jax.nn.log_sigmoid(direction * z)
  x = _choose(has_low, has_high, two_sided, one_sided, z)
  return (
    jnp.clip(x, _next(low, np.inf), _next(high, -np.inf)),
    _choose(has_low, has_high, two_sided_slope, one_sided_slope, 0),
  )


def _choose(has_low, has_high, two_sided, one_sided, unbounded):
  one = jnp.where(has_low | has_high, one_sided, unbounded)
  return jnp.where(has_low & has_high, two_sided, one)


def _direction(has_low):
  """1 where z rises with the distance from the one bound, else -1."""
  return np.where(has_low, 1, -1).astype(np.int8)


def _width(low, high):
  width = high - low
  return np.where(np.isfinite(width), width, 1).astype(low.dtype)


def _next(bound, towards):
  """The normal number after `bound`; subnormal ones may count as zero."""
  tiny = np.finfo(bound.dtype).tiny
  step = np.copysign(tiny, towards).astype(bound.dtype)
  after = np.nextafter(bound, bound.dtype.type(towards))
  return np.where(np.abs(bound) < tiny, bound + step, after)


def _check_inside(x, inside, low, high):
  # In numpy: a constant has values while a function is traced, JAX's sums not.
  if not np.all(inside):
    raise ValueError(
      f"Bounded(low={low}, high={high}) got {np.sum(~inside)} of {x.size}"
      f" values on or outside its bounds, or NaN; the data reach from"
      f" {np.min(x):g} to {np.max(x):g}: pass data strictly"
      " inside, or wider bounds."
    )


def _by_channel(name, given, x, absent=None):
  """What was given as float64 [C]; `absent` stands for None."""
  channels = x.shape[-1]
  many = given if np.ndim(np.asarray(given, object)) else [given] * channels
  if len(many) != channels:
    raise ValueError(
      f"{name} has {len(many)} numbers, the data {channels} channels: pass one"
      " number, or one per channel."
    )
  return np.array([absent if n is None else n for n in many], np.float64)
