"""Plots of calibration, uint8 [H, W, 3], with the range of chance in grey.

Ranks [N, D] are results of `calibration.sbc_ranks` or `tarp_ranks`; there is
one panel, or curve, per parameter.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cinn_jax.evaluation.metrics import calibration

_GREY = "0.85"
_PANEL = (2.6, 2.2)  # inches
_COLUMNS = 4


def rank_histogram(
  ranks: np.ndarray,
  num_samples: int,
  names: Sequence[str] | None = None,
  *,
  bins: int = 20,
  probability: float = 0.99,
) -> np.ndarray:
  """Plots histograms of ranks, one panel per parameter.

  The grey band holds the count of a bin with this probability if the posterior
  is correct, by the binomial distribution. With 20 bins, up to one panel in six
  has a bin outside a band of 99 %.
  """
  ranks = calibration.check_ranks(ranks, num_samples)
  counts, expected = calibration.bin_counts(ranks, num_samples, bins)
  low, high = binomial_band(len(ranks), expected[0] / len(ranks), probability)
  edges = np.linspace(0, num_samples, counts.shape[1] + 1)
  figure, axes = panels(_names(names, ranks.shape[1]))
  for axis, count in zip(axes, counts, strict=True):
    axis.stairs(high, edges, baseline=low, fill=True, color=_GREY)
    axis.stairs(expected[0], edges, color="0.4", linestyle=":")
    axis.stairs(count, edges, color="C0")
    axis.set_ylim(0)
    axis.set_xlabel("rank")
  return to_picture(figure)


def ecdf_difference(
  ranks: np.ndarray,
  num_samples: int,
  names: Sequence[str] | None = None,
  *,
  probability: float = 0.95,
  seed: int = 0,
) -> np.ndarray:
  """Plots the empirical distribution of ranks minus the uniform one.

  The grey band holds a whole curve with this probability if the posterior is
  correct (Säilynoja et al. 2022), see `ecdf_band`.
  """
  ranks = calibration.check_ranks(ranks, num_samples)
  points, low, high = ecdf_band(len(ranks), num_samples, probability, seed)
  ecdf = _ecdf(ranks, num_samples, points)
  figure, (axis,) = panels([""], width=1.8, height=1.5)
  axis.fill_between(points, low - points, high - points, color=_GREY)
  for k, name in enumerate(_names(names, ranks.shape[1])):
    axis.plot(points, ecdf[:, k] - points, label=name)
  axis.axhline(0, color="0.4", linestyle=":")
  axis.set_xlabel("normalised rank")
  axis.set_ylabel("ECDF difference")
  axis.legend(fontsize="small")
  return to_picture(figure)


def coverage_curve(
  levels: Sequence[float],
  coverage: np.ndarray,
  num_examples: int,
  names: Sequence[str] | None = None,
  *,
  probability: float = 0.95,
) -> np.ndarray:
  """Plots coverage against its level.

  The grey band holds the coverage at one level with this probability, over
  `num_examples` independent examples, if the posterior is correct.

  Args:
    levels: Levels in [0, 1].
    coverage: [levels, D], from `central_coverage` or `tarp_coverage`.
    num_examples: Number of simulations behind the coverage.
    names: Names of the parameters.
    probability: Probability of the band.
  """
  x, coverage = np.asarray(levels), np.asarray(coverage)
  if coverage.ndim != 2 or x.shape != coverage.shape[:1]:
    raise ValueError(
      "coverage must be [levels, D]; got levels"
      f" {list(x.shape)} and coverage {list(coverage.shape)}."
    )
  low, high = binomial_band(num_examples, x, probability)
  figure, (axis,) = panels([""], width=1.6, height=1.8)
  axis.fill_between(x, low / num_examples, high / num_examples, color=_GREY)
  axis.axline((0, 0), slope=1, color="0.4", linestyle=":")
  for k, name in enumerate(_names(names, coverage.shape[1])):
    axis.plot(x, coverage[:, k], label=name)
  axis.set_xlim(0, 1)
  axis.set_ylim(0, 1)
  axis.set_xlabel("level")
  axis.set_ylabel("coverage")
  axis.legend(fontsize="small")
  return to_picture(figure)


def binomial_band(
  trials: int, chances: np.ndarray, probability: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (low, high) counts that hold a binomial variable.

  There is one pair for each of `chances`. It holds the variable with at least
  this probability, because counts are whole.
  """
  chances = np.asarray(chances, np.float64)
  tail = (1 - probability) / 2
  low = scipy.stats.binom.ppf(tail, trials, chances)
  # SciPy gives the quantile at chance 0 as -1.
  return np.maximum(low, 0), scipy.stats.binom.ppf(1 - tail, trials, chances)


def ecdf_band(
  num_examples: int,
  num_samples: int,
  probability: float,
  seed: int = 0,
  repeats: int = 2000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (points, low, high): a band around the ECDF of uniform ranks.

  Each point's binomial band is widened until the share `probability` of
  `repeats` simulated curves stays inside at all points (Säilynoja et al. 2022,
  section 2.2.2). There are at most 100 points, spread evenly over the ranks.
  """
  count = min(num_samples + 1, 100)
  points = np.unique(
    np.round(np.linspace(1, num_samples + 1, count)).astype(int)
  ) / (num_samples + 1)
  random = np.random.default_rng(seed)
  ranks = random.integers(num_samples + 1, size=(num_examples, repeats))
  below = np.round(num_examples * _ecdf(ranks, num_samples, points)).astype(int)
  # The tail probability of each point: a table over counts, then a look-up.
  counts = np.arange(num_examples + 1)[None]
  distribution = scipy.stats.binom(num_examples, points[:, None])
  tails = 2 * np.minimum(distribution.cdf(counts), distribution.sf(counts - 1))
  worst = np.min(np.take_along_axis(tails, below, axis=1), axis=0)
  tail = np.quantile(worst, 1 - probability)
  low = scipy.stats.binom.ppf(tail / 2, num_examples, points)
  high = scipy.stats.binom.ppf(1 - tail / 2, num_examples, points)
  return points, low / num_examples, high / num_examples


def _ecdf(ranks, num_samples, points):
  """Returns the share of ranks [N, D] below each point: [points, D]."""
  limits = np.round(points * (num_samples + 1)).astype(int)
  ordered = np.sort(ranks, axis=0)
  below = [np.searchsorted(column, limits, "left") for column in ordered.T]
  return np.stack(below, axis=1) / len(ranks)


def _names(names, count):
  names = [f"parameter {k}" for k in range(count)] if names is None else names
  if len(names) != count:
    raise ValueError(
      f"names must be one per parameter, {count}; got {len(names)}."
    )
  return list(names)


def panels(
  titles: Sequence[str],
  width: float = 1.0,
  height: float = 1.0,
  least: float = 0.0,
) -> tuple[Figure, Any]:
  """Returns a figure and an axis for each title, at most four in a row.

  Args:
    titles: Titles of the panels.
    width, height: Factors of a panel's size.
    least: Least width of the figure, in inches.
  """
  columns = min(len(titles), _COLUMNS)
  rows = math.ceil(len(titles) / columns)
  size = (
    max(_PANEL[0] * columns * width, least),
    _PANEL[1] * rows * height,
  )
  figure = Figure(figsize=size, dpi=100, layout="constrained")
  FigureCanvasAgg(figure)  # Opens no window, and leaves pyplot alone.
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis, title in zip(axes, titles, strict=False):
    axis.set_title(title, fontsize="medium")
  for axis in axes[len(titles) :]:
    axis.set_axis_off()
  return figure, axes[: len(titles)]


def to_picture(figure: Figure) -> np.ndarray:
  """Returns a figure as a picture, uint8 [H, W, 3]."""
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.array(canvas.buffer_rgba())[..., :3].copy()
