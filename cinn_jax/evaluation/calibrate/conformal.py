"""Split conformal intervals: a guarantee for the means of regions.

Both ends of the central interval [lo, hi] of the samples are moved out (or in)
by q times its width. q is the quantile of max(lo - y, y - hi) / (hi - lo) over
other pictures, at the level (1 - alpha) (n + 1) / n for n pictures. If pictures
are exchangeable, the interval of a random region of a new picture then holds
the truth with probability 1 - alpha or more, however wrong the model is (Romano
et al. 2019). The regions of a picture depend on each other, so shares are
averaged over pictures, not over regions; at the level above, this is exact.
"""

import math
from typing import Any

import numpy as np

from cinn_jax.evaluation.calibrate import pool as pools
from cinn_jax.evaluation.calibrate.lines import Line, Part
from cinn_jax.evaluation.calibrate.pool import Pool
from cinn_jax.images.regions import coarser
from cinn_jax.sampling import odds

LEVELS = (0.5, 0.8, 0.9)
GRIDS = (4, 8)
# The level in the table; the JSON has all levels.
_SHOWN = 0.9


def offset(scores: np.ndarray, counted: np.ndarray, level: float) -> float:
  """Returns q for scores [N, R] of the regions that count, bool [N, R].

  Raises:
    ValueError: if there are too few pictures for this level.
  """
  n = int(counted.any(axis=1).sum())
  wanted = level * (n + 1) / max(n, 1)
  if not n or wanted > 1:
    least = math.ceil(round(level / (1 - level), 6))
    raise ValueError(
      f"A conformal interval of {level:.0%} needs at least {least} pictures,"
      f" got {n}."
    )
  count = np.maximum(counted.sum(axis=1, keepdims=True), 1)
  weights = np.broadcast_to(1 / (n * count), scores.shape)[counted]
  values = scores[counted]
  order = np.argsort(values)
  total = np.cumsum(weights[order])
  # Keeps rounding from moving on to the next score.
  at = min(int(np.searchsorted(total, wanted - 1e-9)), len(values) - 1)
  return float(values[order[at]])


def conformal(
  pool: Pool, climatology: dict[tuple[int, str], float], seed: int = 0
) -> tuple[Part, dict[str, Any]]:
  """Measures conformal intervals, and returns their offsets.

  q comes from a random half of the pictures; widths and coverages are measured
  on the other half.

  Args:
    pool: The pools.
    climatology: Width of the central 90 % interval of the training set's means,
      by grid and channel.
    seed: Seed for the halves and the intervals.

  Returns:
    The table; and `{grid: {channel: {level: q}}}`, with q from all pictures,
    for the intervals of new pictures.
  """
  lines: list[Line] = []
  offsets: dict[str, Any] = {}
  half = np.random.default_rng(seed).permutation(len(pool.means))
  first, second = np.array_split(half, 2)
  for grid in GRIDS:
    own = offsets.setdefault(f"{grid}x{grid}", {})
    for c, channel in enumerate(pool.channels):
      values = coarser(pool.means, grid)[..., c]
      values = values.reshape(*values.shape[:2], -1)
      counted = pools.varies(values)
      own[channel] = {
        f"{level:g}": offset(*_scores(values, counted, level), level)
        for level in LEVELS
      }
      name = f"{grid}x{grid}, {channel}"
      marginal = climatology[grid, channel]
      lines += _lines(
        name, values, counted, halves=(first, second), marginal=marginal
      )
  return Part(f"Conformal intervals of {_SHOWN:.0%}", lines), offsets


def _interval(values, level):
  """Returns lo, hi [N, R] of pools [N, M, R], without their truth."""
  return odds.central_interval(np.moveaxis(values[:, 1:], 1, 0), level)


def _scores(values, counted, level):
  """Returns the scores [N, R], and which of them count."""
  low, high = _interval(values, level)
  width = high - low
  counted = counted & (width > 0)
  outside = np.maximum(low - values[:, 0], values[:, 0] - high)
  return outside / np.where(counted, width, 1), counted


def _lines(name, values, counted, *, halves, marginal):
  first, second = halves
  q = offset(*_scores(values[first], counted[first], _SHOWN), _SHOWN)
  low, high = _interval(values[second], _SHOWN)
  truth, mask = values[second, 0], counted[second] & (high > low)
  count = mask.sum(axis=1)
  wide_low, wide_high = odds.widened(low, high, q)

  def line(title, numbers):
    # The guarantee is for a region of a random picture, see `offset`.
    shares = np.sum(numbers * mask, axis=1) / np.maximum(count, 1)
    features = np.stack([shares, count > 0], axis=-1)[:, None]
    means = pools.average(features)
    measured = pools.measure(means, lambda f: pools.ratio(f)[..., 0])
    return Line(name, title, measured._replace(band=None))

  fixed = pools.Measured(marginal)
  return [
    line("coverage before", (truth >= low) & (truth <= high)),
    line("coverage after", (truth >= wide_low) & (truth <= wide_high)),
    line("width before", high - low),
    line("width after", wide_high - wide_low),
    Line(name, "width of the training set's marginal", fixed),
  ]
