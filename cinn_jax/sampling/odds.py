"""Odds and intervals from samples, and odds in words."""

from collections.abc import Sequence

import numpy as np

from cinn_jax.images import color_names

# The words leave out colours with lower odds, and name at most three.
_LEAST, _MOST_WORDS = 0.1, 3
# Half a sample is added for each colour (Jeffreys), so that none is impossible.
_MORE = 0.5
QUARTERS = ("upper left", "upper right", "lower left", "lower right")


def smooth(counts: np.ndarray, total: int) -> np.ndarray:
  """Returns the odds of counts [..., 10] among `total` samples."""
  return (counts + _MORE) / (total + _MORE * len(color_names.NAMES))


def shares(colors: np.ndarray) -> np.ndarray:
  """Returns the odds [..., 10] of colours int [n, ...] of n samples."""
  hit = np.eye(len(color_names.NAMES))[colors]
  return smooth(hit.sum(axis=0), len(colors))


def in_words(odds: np.ndarray, places: Sequence[str] = QUARTERS) -> list[str]:
  """Puts odds [len(places), 10] into words.

  >>> odds = np.full((1, 10), 0.01)
  >>> odds[0, 7], odds[0, 0] = 0.71, 0.22
  >>> in_words(odds, ["upper left"])
  ['upper left: blue 71 %, grey 22 %']
  """
  lines = []
  for place, row in zip(places, odds, strict=True):
    order = [int(k) for k in np.argsort(-row, kind="stable")]
    told = [k for k in order[:_MOST_WORDS] if row[k] >= _LEAST] or order[:1]
    words = [f"{color_names.NAMES[k]} {100 * row[k]:.0f} %" for k in told]
    lines.append(f"{place}: {', '.join(words)}")
  return lines


def central_interval(
  samples: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (low, high) [...], the central interval of samples [n, ...].

  It holds another sample with probability `level` (Weibull's quantiles); 90 %
  takes at least 19 samples.
  """
  ends = [(1 - level) / 2, (1 + level) / 2]
  low, high = np.quantile(samples, ends, axis=0, method="weibull")
  return low, high


def widened(
  low: np.ndarray, high: np.ndarray, offset: float
) -> tuple[np.ndarray, np.ndarray]:
  """Moves both ends of intervals out by `offset` times their width.

  A negative offset moves them in, at most to the middle.
  """
  move = max(offset, -0.5) * (high - low)
  return low - move, high + move
