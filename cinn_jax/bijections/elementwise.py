"""Elementwise maps: to a standard scale, and from bounded data."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  channels_log_det,
  per_channel,
  sum_per_example,
)

# One number for all channels or one per channel, or None for no bound.
Bound = float | Sequence[float | None] | None


class Standardize(Bijection):
  """z = (x - mean) / std with fixed numbers; log_det is -H*W*sum(ln std).

  Attributes:
    mean, std: One number, or one per channel, in the data's units.
  """

  mean: float | Sequence[float]
  std: float | Sequence[float]

  def _mean_and_std(self, x: Array) -> tuple[Array, Array]:
    dtype = at_least_float32(x.dtype)
    mean = _by_channel("Standardize's mean", self.mean, x)
    std = _by_channel("Standardize's std", self.std, x)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
      raise ValueError(
        f"Standardize takes finite numbers, got mean {self.mean}, std"
        f" {self.std}."
      )
    if not (std > 0).all():
      raise ValueError(f"Standardize's std must be above 0, got {self.std}.")
    return jnp.asarray(mean, dtype), jnp.asarray(std, dtype)

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    mean, std = self._mean_and_std(x)
    z = (x - per_channel(mean, x)) / per_channel(std, x)
    return z, -channels_log_det(jnp.log(std), x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    mean, std = self._mean_and_std(z)
    x = z * per_channel(std, z) + per_channel(mean, z)
    return x, channels_log_det(jnp.log(std), z)


class Bounded(Bijection):
  """Maps bounded data to the real line, with densities in the data's units.

    low and high  z = logit((x - low) / (high - low))
    low alone     z = ln(exp(x - low) - 1), the inverse of softplus
    high alone    z = -ln(exp(high - x) - 1)
    neither       z = x

  A one-sided bound uses softplus, not exp: its slope is at most 1, so a far
  latent is a large number and never overflows. Softplus bends at a scale of 1:
  put `Standardize` before it for data of another scale.

  `inverse` stays strictly inside the bounds, rounded if necessary. Data on or
  outside a bound have no density: `forward` raises ValueError when it runs
  eagerly; while JAX traces it (`jit`, `vmap`, `grad`) it returns an infinite or
  NaN log_det. During initialisation, when zeros may stand in for data, it maps
  such values to the latent 0.

  Attributes:
    low, high: One number or None for all channels, or one of these per channel,
      in the data's units; None leaves that side open.
  """

  low: Bound = None
  high: Bound = None

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    low, high = self._bounds(x)
    x = x.astype(low.dtype)
    inside = (x > low) & (x < high)
    if self.is_initializing():
      middle = _from_line(jnp.zeros_like(x), low, high)[0]
      x = jnp.where(inside, x, middle)
    else:
      _check_inside(x, inside, self.low, self.high)
    z, log_slope = _to_line(x, low, high)
    return z, sum_per_example(log_slope)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    low, high = self._bounds(z)
    x, log_slope = _from_line(z.astype(low.dtype), low, high)
    return x, sum_per_example(log_slope)

  def _bounds(self, x: Array) -> list[np.ndarray]:
    """Returns low and high [1, ..., C], infinite for channels without one."""
    low = _by_channel("Bounded's low", self.low, x, absent=-np.inf)
    high = _by_channel("Bounded's high", self.high, x, absent=np.inf)
    if not (low < high).all():
      raise ValueError(
        "Bounded takes a low below its high in every channel, got low"
        f" {self.low}, high {self.high}."
      )
    dtype = at_least_float32(x.dtype)
    return [per_channel(bound.astype(dtype), x) for bound in (low, high)]


def _to_line(
  x: Array, low: np.ndarray, high: np.ndarray
) -> tuple[Array, Array]:
  """Returns z and ln dz/dx."""
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


def _from_line(
  z: Array, low: np.ndarray, high: np.ndarray
) -> tuple[Array, Array]:
  """Returns x and ln dx/dz."""
  has_low, has_high = np.isfinite(low), np.isfinite(high)
  start, end = np.where(has_low, low, 0), np.where(has_high, high, 0)
  width = _width(low, high)
  # Each half is exact close to its own bound.
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


def _choose(
  has_low: np.ndarray,
  has_high: np.ndarray,
  two_sided: ArrayLike,
  one_sided: ArrayLike,
  unbounded: ArrayLike,
) -> Array:
  """Picks per channel, by how many bounds it has."""
  one = jnp.where(has_low | has_high, one_sided, unbounded)
  return jnp.where(has_low & has_high, two_sided, one)


def _direction(has_low: np.ndarray) -> np.ndarray:
  """Returns 1 if z rises with the distance from the only bound, else -1."""
  return np.where(has_low, 1, -1).astype(np.int8)


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """Returns high - low, or 1 for channels without two bounds."""
  width = high - low
  return np.where(np.isfinite(width), width, 1).astype(low.dtype)


def _next(bound: np.ndarray, towards: float) -> np.ndarray:
  """Returns the next normal number; subnormal ones may be flushed to zero."""
  tiny = np.finfo(bound.dtype).tiny
  step = np.copysign(tiny, towards).astype(bound.dtype)
  after = np.nextafter(bound, bound.dtype.type(towards))
  return np.where(np.abs(bound) < tiny, bound + step, after)


def _check_inside(
  x: Array,
  inside: Array,
  low: Bound,
  high: Bound,
) -> None:
  """Raises ValueError unless all of x is `inside`; does nothing in a trace."""
  try:
    values, outside = np.asarray(x), ~np.asarray(inside)
  except jax.errors.TracerArrayConversionError:
    return
  if outside.any():
    raise ValueError(
      f"Bounded(low={low}, high={high}) got {outside.sum()} of {values.size}"
      f" values on or outside its bounds, or NaN; the data range from"
      f" {values.min():g} to {values.max():g}: pass data strictly inside, or"
      " wider bounds."
    )


def _by_channel(
  name: str,
  value: Bound,
  x: Array,
  absent: float | None = None,
) -> np.ndarray:
  """Returns `value` as float64 [C], with `absent` in place of None."""
  channels = x.shape[-1]
  numbers = np.asarray(value, object)
  if not numbers.ndim:
    numbers = np.full(channels, value, object)
  if len(numbers) != channels:
    raise ValueError(
      f"{name} has {len(numbers)} numbers, the data {channels} channels: pass"
      " one number, or one per channel."
    )
  return np.array([absent if n is None else n for n in numbers], np.float64)
