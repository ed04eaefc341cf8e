"""Pictures of calibration, uint8 [H, W, 3], with what chance allows in grey.

Ranks [N, D] are those of `calibration.sbc_ranks` or `tarp_ranks`; there is one
panel, or curve, per parameter.
"""

import math

import numpy as np
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cinn_jax.evaluation.metrics import calibration

_GREY = "0.85"
_PANEL = (2.6, 2.2)  # inches
_COLUMNS = 4


def rank_histogram(
  ranks, num_samples, names=None, *, bins=20, probability=0.99
):
  """Histograms of ranks, one panel per parameter.

  Grey: where the count of one bin stays with this probability if the posterior
  is right, by the binomial distribution. Of 20 bins one may leave 99 % in up to
  one panel of six.
  """
  ranks = calibration.check_ranks(ranks, num_samples)
  counts, expected = calibration.binned(ranks, num_samples, bins)
  low, high = binomial_band(len(ranks), expected[0] / len(ranks), probability)
  edges = np.linspace(0, num_samples, counts.shape[1] + 1)
  figure, axes = _panels(_names(names, ranks.shape[1]))
  for axis, count in zip(axes, counts, strict=True):
    axis.stairs(high, edges, baseline=low, fill=True, color=_GREY)
    axis.stairs(expected[0], edges, color="0.4", linestyle=":")
    axis.stairs(count, edges, color="C0")
    axis.set_ylim(0)
    axis.set_xlabel("rank")
  return _drawn(figure)


def ecdf_difference(
  ranks, num_samples, names=None, *, probability=0.95, seed=0
):
  """Empirical distribution of ranks less the uniform one, one curve each.

  Grey: where a whole curve stays with this probability if the posterior is
  right (Säilynoja et al. 2022), see `ecdf_band`.
  """
  ranks = calibration.check_ranks(ranks, num_samples)
  points, low, high = ecdf_band(len(ranks), num_samples, probability, seed)
  ecdf = _ecdf(ranks, num_samples, points)
  figure, (axis,) = _panels([""], width=1.8, height=1.5)
  axis.fill_between(points, low - points, high - points, color=_GREY)
  for k, name in enumerate(_names(names, ranks.shape[1])):
    axis.plot(points, ecdf[:, k] - points, label=name)
  axis.axhline(0, color="0.4", linestyle=":")
  axis.set_xlabel("normalised rank")
  axis.set_ylabel("ECDF difference")
  axis.legend(fontsize="small")
  return _drawn(figure)


def coverage_curve(
  levels, coverage, num_examples, names=None, *, probability=0.95
):
  """Coverage [levels, D] against its level, one curve each.

  Takes what `central_coverage` or `tarp_coverage` returned. Grey: where the
  coverage at one level stays with this probability, over `num_examples`
  independent examples, if the posterior is right.
  """
  levels, coverage = np.asarray(levels), np.asarray(coverage)
  if coverage.ndim != 2 or levels.shape != coverage.shape[:1]:
    raise ValueError(
      "coverage is [levels, D]; got levels"
      f" {list(levels.shape)} and coverage {list(coverage.shape)}."
    )
  low, high = binomial_band(num_examples, levels, probability)
  figure, (axis,) = _panels([""], width=1.6, height=1.8)
  axis.fill_between(
    levels, low / num_examples, high / num_examples, color=_GREY
  )
  axis.axline((0, 0), slope=1, color="0.4", linestyle=":")
  for k, name in enumerate(_names(names, coverage.shape[1])):
    axis.plot(levels, coverage[:, k], label=name)
  axis.set_xlim(0, 1)
  axis.set_ylim(0, 1)
  axis.set_xlabel("level")
  axis.set_ylabel("coverage")
  axis.legend(fontsize="small")
  return _drawn(figure)


def binomial_band(trials, chances, probability):
  """(low, high) counts that a binomial variable keeps with this probability.

  For each of `chances`; at least the probability, as counts are whole.
  """
  chances = np.asarray(chances, np.float64)
  tail = (1 - probability) / 2
  low = scipy.stats.binom.ppf(tail, trials, chances)
  # At chance 0 the quantile is given as -1.
  return np.maximum(low, 0), scipy.stats.binom.ppf(1 - tail, trials, chances)


def ecdf_band(num_examples, num_samples, probability, seed=0, repeats=2000):
  """(points z, low, high): the ECDF of uniform ranks stays between at all z.

  Säilynoja et al. 2022, section 2.2.2: each point's binomial band is widened
  until as many of `repeats` simulated curves as `probability` says stay inside
  everywhere. Points are at most 100, spread evenly over the ranks.
  """
  count = min(num_samples + 1, 100)
  points = np.unique(
    np.round(np.linspace(1, num_samples + 1, count)).astype(int)
  ) / (num_samples + 1)
  random = np.random.default_rng(seed)
  ranks = random.integers(num_samples + 1, size=(num_examples, repeats))
  below = np.round(num_examples * _ecdf(ranks, num_samples, points)).astype(int)
  # How far in the tails each point is: a table over counts, then a look-up.
  counts = np.arange(num_examples + 1)[None]
  distribution = scipy.stats.binom(num_examples, points[:, None])
  tails = 2 * np.minimum(distribution.cdf(counts), distribution.sf(counts - 1))
  worst = np.min(np.take_along_axis(tails, below, axis=1), axis=0)
  tail = np.quantile(worst, 1 - probability)
  low = scipy.stats.binom.ppf(tail / 2, num_examples, points)
  high = scipy.stats.binom.ppf(1 - tail / 2, num_examples, points)
  return points, low / num_examples, high / num_examples


def _ecdf(ranks, num_samples, points):
  """The share of ranks [N, D] below each point's share of them: [points, D]."""
  limits = np.round(points * (num_samples + 1)).astype(int)
  ordered = np.sort(ranks, axis=0)
  below = [np.searchsorted(column, limits, "left") for column in ordered.T]
  return np.stack(below, axis=1) / len(ranks)


def _names(names, count):
  names = [f"parameter {k}" for k in range(count)] if names is None else names
  if len(names) != count:
    raise ValueError(f"names are one per parameter, {count}; got {len(names)}.")
  return list(names)


def _panels(titles, width=1.0, height=1.0):
  columns = min(len(titles), _COLUMNS)
  rows = math.ceil(len(titles) / columns)
  size = (_PANEL[0] * columns * width, _PANEL[1] * rows * height)
  figure = Figure(figsize=size, dpi=100, layout="constrained")
  FigureCanvasAgg(figure)  # no window, and no state of pyplot's
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis, title in zip(axes, titles, strict=False):
    axis.set_title(title, fontsize="medium")
  for axis in axes[len(titles) :]:
    axis.set_axis_off()
  return figure, axes[: len(titles)]


def _drawn(figure):
  figure.canvas.draw()
  return np.array(figure.canvas.buffer_rgba())[..., :3].copy()
