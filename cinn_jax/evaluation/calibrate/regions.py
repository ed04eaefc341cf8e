"""Ranks of the truth among samples: means of regions, density, distances."""

import numpy as np

from cinn_jax.evaluation.calibrate import pool as pools
from cinn_jax.evaluation.calibrate.lines import Curve, Line, Part
from cinn_jax.evaluation.calibrate.pool import LEVELS, Pool
from cinn_jax.images.regions import coarser

GRIDS = (4, 8)
# The two ends of each central interval whose coverage is measured.
_COVERAGES = {0.5: (0.25, 0.75), 0.8: (0.1, 0.9), 0.9: (0.05, 0.95)}
_ALL = np.array([*LEVELS, 0.05, 0.25, 0.75, 0.95])
_HPD_LEVELS = np.array([*LEVELS, 0.95])
_DIRECTIONS = 16


def region_pit(pool: Pool, seed: int = 0) -> Part:
  """Ranks means of regions among those of the samples (Talts et al. 2018).

  ECE is the mean over the levels .1 to .9 of |share of regions below the
  level's quantile of the samples - expected share| (Kuleshov et al. 2018); the
  expected share is that of a right model with this many samples. "bias" is the
  mean quantile of the truth minus 1/2: above 0, samples are too small. Strata
  are quarters of the regions, by the standard deviation of the samples.
  """
  lines, curves = [], []
  for grid in GRIDS:
    regions = coarser(pool.means, grid)
    for c, channel in enumerate(pool.channels):
      values = _by_region(regions[..., c])
      name = f"{grid}x{grid}, {channel}"
      rank, counted = pools.ranks(values, seed), pools.varies(values)
      means = pools.average(pools.shares_below(rank, counted, _ALL), seed)
      lines += _lines(name, means, rank.shape[1])
      curves.append(_curve(name, means, _ALL))
      if grid == GRIDS[0]:
        lines += _strata(name, values, rank, counted, seed)
  return Part("Region PIT", lines, curves)


def hpd(pool: Pool, seed: int = 0) -> Part:
  """Ranks the density of the truth among those of the samples.

  The highest-density region of a level holds the truth if the share of samples
  with a higher density is below the level.
  """
  rank = pools.ranks(-pool.log_prob[..., None], seed)
  counted = np.ones((len(rank), 1), bool)
  features = pools.shares_below(rank, counted, _HPD_LEVELS)
  means = pools.average(features, seed)
  lines = []
  for level in (0.5, 0.8, 0.9, 0.95):

    def coverage(f, level=level):
      return _share(f, _HPD_LEVELS, level)

    measured = pools.measure(means, coverage)
    lines.append(Line("density", f"coverage of {level:.0%}", measured))
  ece = pools.measure(means, _ece(rank.shape[1]))
  lines.append(Line("density", "ECE", ece))
  curve = _curve("highest density", means, _HPD_LEVELS)
  return Part("HPD rank", lines, [curve])


def tarp(pool: Pool, seed: int = 0) -> Part:
  """Ranks distances to another picture's truth (TARP, Lemos et al. 2023).

  Distances are measured along the first 16 principal directions of the pools'
  means of 8x8 regions, since with many dimensions all distances are alike.

  Raises:
    ValueError: for a single picture.
  """
  rank = _distance_ranks(pool, seed)
  members = rank.shape[1]
  levels = np.arange(1, members) / members
  counted = np.ones((len(rank), 1), bool)
  means = pools.average(pools.shares_below(rank, counted, levels), seed)
  right = pools.expected(members, levels)

  def deviation(features):
    return np.max(np.abs(pools.ratio(features)[..., :-1] - right), axis=-1)

  lines = [
    Line("distances", "largest deviation", pools.measure(means, deviation)),
    Line("distances", "bias", pools.measure(means, _bias)),
  ]
  return Part("TARP", lines, [_curve("TARP", means, levels)])


def rank_columns(pool: Pool, seed: int = 0) -> dict[str, np.ndarray]:
  """Returns ranks of the truth for histograms: int [N R] by title."""
  columns = {}
  means = coarser(pool.means, GRIDS[0])
  for c, channel in enumerate(pool.channels):
    values = _by_region(means[..., c])
    rank = pools.ranks(values, seed)[:, 0]
    columns[f"means of 4x4, {channel}"] = rank[pools.varies(values)]
  columns["highest density"] = pools.ranks(-pool.log_prob, seed)[:, 0]
  columns["TARP"] = _distance_ranks(pool, seed)[:, 0, 0]
  return columns


def sureness(pool: Pool, seed: int = 0) -> dict[str, np.ndarray]:
  """Returns coverage of 80 % intervals by region: [8, 8] by channel.

  Less that of a right model with as many members, which is about 80 %. The
  model is too sure where numbers are negative, and too unsure where they
  are positive; NaN marks regions that are known in every picture.
  """
  maps = {}
  low, high = 0.1, 0.9
  below_low, below_high = pools.expected(
    pool.means.shape[1], np.array([low, high])
  )
  for c, channel in enumerate(pool.channels):
    values = pool.means[..., c]
    quantile = (pools.ranks(values, seed)[:, 0] + 0.5) / values.shape[1]
    inside = (quantile >= low) & (quantile < high)
    counted = pools.varies(values)
    count = counted.sum(axis=0)
    share = np.sum(inside & counted, axis=0) / np.maximum(count, 1)
    maps[channel] = np.where(
      count > 0, share - (below_high - below_low), np.nan
    )
  return maps


def _by_region(means):
  return means.reshape(*means.shape[:2], -1)


def _lines(name, means, members):
  return [
    Line(name, "ECE", pools.measure(means, _ece(members))),
    Line(name, "bias", pools.measure(means, _bias)),
    *(_coverage_line(name, means, level) for level in _COVERAGES),
  ]


def _coverage_line(name, means, level):
  low, high = _COVERAGES[level]

  def coverage(f):
    return _share(f, _ALL, high) - _share(f, _ALL, low)

  measured = pools.measure(means, coverage)
  return Line(name, f"coverage of {level:.0%}", measured)


def _strata(name, values, rank, counted, seed):
  # All members count alike, so that any of them could be the truth.
  std = values.std(axis=1)
  edges = np.quantile(std[counted], [0.25, 0.5, 0.75]) if counted.any() else []
  quarter = np.searchsorted(edges, std)
  lines = []
  for k, which in enumerate(("least", "less", "more", "most")):
    own = pools.shares_below(rank, counted & (quarter == k), _ALL)
    title = f"{name}, quarter of {which} spread"
    lines.append(_coverage_line(title, pools.average(own, seed), 0.8))
  return lines


def _share(features, levels, level):
  at = int(np.argmin(np.abs(np.asarray(levels) - level)))
  return pools.ratio(features)[..., at]


def _ece(members):
  """Returns a function from features to the ECE; LEVELS come first in them."""
  right = pools.expected(members)

  def ece(features):
    nine = pools.ratio(features)[..., : len(LEVELS)]
    return np.mean(np.abs(nine - right), axis=-1)

  return ece


def _bias(features):
  return pools.ratio(features)[..., -1] - 0.5


def _curve(title, means, levels):
  """Returns the curve at LEVELS, or at the nearest of `levels`."""
  at = np.abs(levels[:, None] - LEVELS[None]).argmin(axis=0)
  measured = pools.measure(means, lambda f: pools.ratio(f)[..., at])
  return Curve(title, levels[at], measured)


def _distance_ranks(pool, seed):
  """Returns ranks [N, M, 1] of the members' distances to another's truth."""
  n, members = pool.means.shape[:2]
  if n < 2:
    raise ValueError("TARP needs at least 2 pictures, got 1.")
  x = pool.means[..., : len(pool.channels)].reshape(n, members, -1)
  rest = (x - x.mean(axis=1, keepdims=True)).reshape(n * members, -1)
  # All members count alike, so that any of them could be the truth.
  _, directions = np.linalg.eigh(rest.T.astype(np.float64) @ rest)
  points = x @ directions[:, -_DIRECTIONS:]
  order = np.random.default_rng(seed).permutation(n)
  references = np.empty_like(points[:, 0])
  references[order] = points[np.roll(order, 1), 0]
  distance = np.linalg.norm(points - references[:, None], axis=-1)
  return pools.ranks(distance[..., None], seed)
