"""Rational-quadratic splines, and the coupling that they make.

Where a knot spacing is w wide and h high, with s = h / w and slopes d0, d1 at
its ends, the spline takes u = (x - x0) / w to v = (y - y0) / h by

  v = (s u^2 + d0 u (1 - u)) / (s (u^2 + (1 - u)^2) + (d0 + d1) u (1 - u)),

which is Durkan et al. 2019, equation 4, with the denominator as a sum of
positive terms. In the same manner equations 6 to 8, its inverse, become

  r = d0 (1 - v) - d1 v,  q = sqrt(r^2 + 4 s^2 v (1 - v)),
  u     = 2 s v       / (2 s v       + q + r)    without cancellation if r >= 0
  1 - u = 2 s (1 - v) / (2 s (1 - v) + q - r)    without cancellation if r <= 0

so the discriminant q^2 is positive by its form, in any precision.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import at_least_float32
from cinn_jax.bijections.coupling import CLAMPS, Coupling


class Knots(NamedTuple):
  """Where a spline with K bins passes, [..., K + 1] each, x and y rising."""

  x: jax.Array
  y: jax.Array
  slope: jax.Array


class SplineCoupling(Coupling):
  """Coupling by monotonic rational-quadratic splines (Durkan et al. 2019).

  Each active number inside [-bound, bound] passes a spline of its own from
  that interval onto itself; outside it is kept. The slope is 1 at the bounds,
  so the whole is smooth. A network that makes zeros gives the identity.

  As in the paper, bins have a smallest width and height. Slopes at the knots
  are exp(soft clamp), not softplus, which bounds them above too: a steep knot
  makes the middle of its bins flat, which no precision can invert.

  Attributes:
    bins: K; the network makes 3K - 1 numbers per channel.
    bound: where the identity begins, in the data's units.
    min_bin: the smallest width and height of a bin, as a part of an even one,
      between 0 and 1.
    alpha: the bound of the logarithm of the slopes at knots.
  """

  bins: int = 8
  bound: float = 3.0
  min_bin: float = 0.1
  alpha: float = 2.0

  def setup(self):
    super().setup()
    if self.bins < 2:
      raise ValueError(f"A spline has 2 bins or more, got {self.bins}.")
    if not 0 < self.min_bin < 1:
      raise ValueError(
        "min_bin is a part of an even bin, between 0 and 1, got"
        f" {self.min_bin}."
      )
    for name in ("bound", "alpha"):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} is above 0, got {getattr(self, name)}.")

  def features(self, channels):
    return channels * (3 * self.bins - 1)

  def transform(self, active, head, *, inverse):
    head = head.reshape(*active.shape, 3 * self.bins - 1)
    knots = make_knots(head, self.bound, self.min_bin, self.alpha)
    active = active.astype(at_least_float32(active.dtype))
    # Where the result is not used, gradients still must be finite.
    inside = jnp.abs(active) <= self.bound
    safe = jnp.where(inside, active, 0)
    run = spline_inverse if inverse else spline_forward
    value, log_slope = run(safe, knots)
    return jnp.where(inside, value, active), jnp.where(inside, log_slope, 0)


def make_knots(head, bound, min_bin, alpha) -> Knots:
  """Knots from free numbers [..., 3K - 1]: widths, heights, inner slopes."""
  bins = (head.shape[-1] + 1) // 3
  widths, heights, slopes = jnp.split(head, [bins, 2 * bins], axis=-1)
  inner = jnp.exp(CLAMPS["cinn_paper"](slopes, alpha))
  one = jnp.ones_like(inner[..., :1])
  return Knots(
    _rising(widths, bound, min_bin),
    _rising(heights, bound, min_bin),
    jnp.concatenate([one, inner, one], -1),
  )


def spline_forward(x, knots: Knots):
  """(y, ln dy/dx) at `x` between the outer knots."""
  piece = _piece_at(x, knots.x, knots)
  u = _at_most_1((x - piece.x) / piece.width)
  v = (piece.ratio * u**2 + piece.slope * u * (1 - u)) / (
    _denominator(u, 1 - u, piece)
  )
  return piece.y + piece.height * v, _log_slope(u, 1 - u, piece)


def spline_inverse(y, knots: Knots):
  """(x, ln dy/dx) at `y` between the outer knots."""
  piece = _piece_at(y, knots.y, knots)
  v = _at_most_1((y - piece.y) / piece.height)
  r = piece.slope * (1 - v) - piece.next_slope * v
  q = jnp.sqrt(r**2 + 4 * piece.ratio**2 * v * (1 - v))
  # Of the two forms at the head of this file, the one that is exact here.
  from_left = r >= 0
  near = 2 * piece.ratio * jnp.where(from_left, v, 1 - v)
  far = q + jnp.abs(r)
  part, rest = near / (near + far), far / (near + far)
  u = jnp.where(from_left, part, rest)
  others = jnp.where(from_left, rest, part)
  return piece.x + piece.width * u, _log_slope(u, others, piece)


class _Piece(NamedTuple):
  """The bins that numbers [...] are in; each part is [...]."""

  x: jax.Array
  y: jax.Array
  width: jax.Array
  height: jax.Array
  slope: jax.Array
  next_slope: jax.Array

  @property
  def ratio(self):
    return self.height / self.width


def _piece_at(value, edges, knots) -> _Piece:
  # Counting the edges below puts every number into a bin, knots included.
  index = jnp.sum(value[..., None] >= edges[..., 1:-1], axis=-1)
  chosen = jax.nn.one_hot(index, edges.shape[-1] - 1, dtype=bool)

  def choose(parts):
    return jnp.sum(jnp.where(chosen, parts, 0), axis=-1)

  return _Piece(
    choose(knots.x[..., :-1]),
    choose(knots.y[..., :-1]),
    choose(jnp.diff(knots.x, axis=-1)),
    choose(jnp.diff(knots.y, axis=-1)),
    choose(knots.slope[..., :-1]),
    choose(knots.slope[..., 1:]),
  )


def _rising(raw, bound, min_bin):
  """K + 1 positions from -bound to bound, of K free numbers."""
  bins = raw.shape[-1]
  parts = min_bin / bins + (1 - min_bin) * nn.softmax(raw)
  inner = 2 * bound * jnp.cumsum(parts, axis=-1)[..., :-1] - bound
  end = jnp.full_like(raw[..., :1], bound)
  return jnp.concatenate([-end, inner, end], -1)


def _at_most_1(part):
  # Unlike a minimum, it passes the whole gradient at 1.
  return jnp.where(part > 1, 1, part)


def _denominator(u, others, piece):
  steep = piece.slope + piece.next_slope
  return piece.ratio * (u**2 + others**2) + steep * u * others


def _log_slope(u, others, piece):
  """ln dy/dx (Durkan et al. 2019, equation 5); `others` is 1 - u."""
  top = (
    piece.next_slope * u**2
    + 2 * piece.ratio * u * others
    + piece.slope * others**2
  )
  below = jnp.log(_denominator(u, others, piece))
  return 2 * (jnp.log(piece.ratio) - below) + jnp.log(top)
