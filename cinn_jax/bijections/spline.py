"""Rational-quadratic splines, and the coupling that uses them.

In a bin of width w and height h, with s = h / w and slopes d0 and d1 at its
ends, the spline maps u = (x - x0) / w to v = (y - y0) / h by

  v = (s u^2 + d0 u (1 - u)) / (s (u^2 + (1 - u)^2) + (d0 + d1) u (1 - u)),

which is Durkan et al. 2019, equation 4, with the denominator written as a sum
of positive terms. In the same way their inverse, equations 6 to 8, becomes

  r = d0 (1 - v) - d1 v,  q = sqrt(r^2 + 4 s^2 v (1 - v)),
  u     = 2 s v       / (2 s v       + q + r)    without cancellation if r >= 0
  1 - u = 2 s (1 - v) / (2 s (1 - v) + q - r)    without cancellation if r <= 0

so the discriminant q^2 is a sum of positive terms, in any precision.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, at_least_float32
from cinn_jax.bijections.coupling import Coupling
from cinn_jax.bijections.log_scales import CLAMPS, affine, soft_clamp


class Knots(NamedTuple):
  """Knots of splines with K bins: [..., K + 1] each, x and y increasing."""

  x: Array
  y: Array
  slope: Array


class SplineCoupling(Coupling):
  """Coupling by monotonic rational-quadratic splines (Durkan et al. 2019).

  Each active number inside [-bound, bound] passes through its own spline, which
  maps that interval onto itself. Numbers outside do not change. The slope is 1
  at the bounds, so the whole map is smooth. A network that returns zeros gives
  the identity.

  As in the paper, bins have a minimum width and height. Slopes at the knots are
  exp(soft clamp), not softplus, so they are bounded above too: a steep knot
  flattens the middle of its bins, which no precision can invert.

  With `affine_alpha`, an affine map as that of `AffineCoupling` comes before
  the spline, from the same network. It moves and scales what the spline, whose
  interval is fixed, can only bend.

  Attributes:
    bins: Number of bins K; the network returns 3K - 1 numbers per channel, and
      two more with an affine map.
    bound: Absolute value above which the map is the identity, in the data's
      units.
    min_bin: Minimum width and height of a bin, as a fraction of those of K
      equal bins, between 0 and 1.
    alpha: Bound of the logarithm of the slopes at knots.
    affine_alpha: Bound of the log-scale of the affine map; None has no map.
  """

  bins: int = 8
  bound: float = 3.0
  min_bin: float = 0.1
  alpha: float = 2.0
  affine_alpha: float | None = None

  def setup(self) -> None:
    super().setup()
    if self.bins < 2:
      raise ValueError(f"A spline needs 2 bins or more, got {self.bins}.")
    if not 0 < self.min_bin < 1:
      raise ValueError(
        "min_bin is a fraction of an equal bin, between 0 and 1, got"
        f" {self.min_bin}."
      )
    names = ("bound", "alpha", *["affine_alpha"] * self._has_affine)
    for name in names:
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")

  def features(self, channels: int) -> int:
    return channels * (3 * self.bins - 1 + 2 * self._has_affine)

  @property
  def _has_affine(self) -> bool:
    return self.affine_alpha is not None

  def transform(
    self, active: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    head = head.reshape(*active.shape, -1)
    active = active.astype(at_least_float32(active.dtype))
    if self.affine_alpha is None:
      return self._spline(active, head, inverse=inverse)
    shift, spline_head = head[..., 0], head[..., 2:]
    log_scale = soft_clamp("cinn_paper", head[..., 1], self.affine_alpha)
    if not inverse:
      active = affine(active, log_scale, shift, inverse=False)
    active, log_slope = self._spline(active, spline_head, inverse=inverse)
    if inverse:
      active = affine(active, log_scale, shift, inverse=True)
    return active, log_scale + log_slope

  def _spline(
    self, active: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    knots = make_knots(head, self.bound, self.min_bin, self.alpha)
    # Gradients must be finite even if the result is not used.
    inside = jnp.abs(active) <= self.bound
    safe = jnp.where(inside, active, 0)
    run = spline_inverse if inverse else spline_forward
    value, log_slope = run(safe, knots)
    return jnp.where(inside, value, active), jnp.where(inside, log_slope, 0)


def make_knots(
  head: Array, bound: float, min_bin: float, alpha: float
) -> Knots:
  """Makes knots from free numbers: widths, heights and inner slopes.

  Args:
    head: The numbers, [..., 3K - 1]. Zeros give the identity.
    bound: The outer knots are at -bound and bound.
    min_bin: Minimum width and height, as a fraction of those of K equal bins.
    alpha: Bound of the logarithm of the slopes.
  """
  bins = (head.shape[-1] + 1) // 3
  widths, heights, slopes = jnp.split(head, [bins, 2 * bins], axis=-1)
  inner = jnp.exp(CLAMPS["cinn_paper"](slopes, alpha))
  one = jnp.ones_like(inner[..., :1])
  return Knots(
    _positions(widths, bound, min_bin),
    _positions(heights, bound, min_bin),
    jnp.concatenate([one, inner, one], -1),
  )


def spline_forward(x: Array, knots: Knots) -> tuple[Array, Array]:
  """Returns (y, ln dy/dx) at `x` [...], between the outer knots."""
  piece = _piece_at(x, knots.x, knots)
  u = _at_most_1((x - piece.x) / piece.width)
  v = (piece.ratio * u**2 + piece.slope * u * (1 - u)) / (
    _denominator(u, 1 - u, piece)
  )
  return piece.y + piece.height * v, _log_slope(u, 1 - u, piece)


def spline_inverse(y: Array, knots: Knots) -> tuple[Array, Array]:
  """Returns (x, ln dy/dx) at `y` [...], between the outer knots."""
  piece = _piece_at(y, knots.y, knots)
  v = _at_most_1((y - piece.y) / piece.height)
  r = piece.slope * (1 - v) - piece.next_slope * v
  q = jnp.sqrt(r**2 + 4 * piece.ratio**2 * v * (1 - v))
  # Choose the form from the module docstring that does not cancel.
  from_left = r >= 0
  near = 2 * piece.ratio * jnp.where(from_left, v, 1 - v)
  far = q + jnp.abs(r)
  part, rest = near / (near + far), far / (near + far)
  u = jnp.where(from_left, part, rest)
  others = jnp.where(from_left, rest, part)
  return piece.x + piece.width * u, _log_slope(u, others, piece)


class _Piece(NamedTuple):
  """The bins that contain some numbers [...]; each field is [...]."""

  x: Array
  y: Array
  width: Array
  height: Array
  slope: Array
  next_slope: Array

  @property
  def ratio(self) -> Array:
    return self.height / self.width


def _piece_at(value: Array, edges: Array, knots: Knots) -> _Piece:
  # Counting inner edges puts every number into a bin, knots included.
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


def _positions(raw: Array, bound: float, min_bin: float) -> Array:
  """Returns K + 1 increasing positions from -bound to bound."""
  bins = raw.shape[-1]
  parts = min_bin / bins + (1 - min_bin) * nn.softmax(raw)
  inner = 2 * bound * jnp.cumsum(parts, axis=-1)[..., :-1] - bound
  end = jnp.full_like(raw[..., :1], bound)
  return jnp.concatenate([-end, inner, end], -1)


def _at_most_1(part: Array) -> Array:
  # Unlike jnp.minimum, this passes the whole gradient at 1.
  return jnp.where(part > 1, 1, part)


def _denominator(u: Array, others: Array, piece: _Piece) -> Array:
  steep = piece.slope + piece.next_slope
  return piece.ratio * (u**2 + others**2) + steep * u * others


def _log_slope(u: Array, others: Array, piece: _Piece) -> Array:
  """Returns ln dy/dx (Durkan et al. 2019, equation 5); `others` is 1 - u."""
  top = (
    piece.next_slope * u**2
    + 2 * piece.ratio * u * others
    + piece.slope * others**2
  )
  below = jnp.log(_denominator(u, others, piece))
  return 2 * (jnp.log(piece.ratio) - below) + jnp.log(top)
