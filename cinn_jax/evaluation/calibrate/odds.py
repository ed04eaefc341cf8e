"""Odds of named colours: 70 % of the regions with 70 % odds of blue are blue.

That is how it should be, and this module measures it. The odds of a region are
the smoothed shares of its samples in ten bins of the mean colour, see
`images.color_names`. Every pair of a region and a colour is a forecast.
"""

import numpy as np

from cinn_jax.evaluation.calibrate import pool as pools
from cinn_jax.evaluation.calibrate.lines import Curve, Line, Part
from cinn_jax.evaluation.calibrate.pool import Pool
from cinn_jax.images import color_names
from cinn_jax.images.regions import coarser
from cinn_jax.sampling import odds

# Quarters, whose odds --mode=sample tells, and 4x4 regions.
GRIDS = (2, 4)
_BINS = 10
# The columns of the features: sums by bin over all pairs, then over the most
# likely colours; then scores, and the number of regions.
_TOP = 3 * _BINS


def color_odds(
  pool: Pool, climatology: dict[int, np.ndarray], seed: int = 0
) -> Part:
  """Measures odds of colours.

  ECE is the mean of |share that came true - odds| over ten bins of the odds,
  weighted by the number of forecasts. It is measured for all pairs, and for the
  most likely colour alone. The Brier score and the log score (in nats) are per
  region; lower is better.

  Args:
    pool: The pools.
    climatology: Frequencies [10] of the colours in the training set, by grid.
    seed: Seed for intervals and bands.
  """
  lines, curves = [], []
  for grid in GRIDS:
    means = pools.average(_features(pool, grid, climatology[grid]), seed)
    name = f"{grid}x{grid}"

    def add(title, reduce, means=means, name=name, has_band=True):
      measured = pools.measure(means, reduce)
      if not has_band:
        measured = measured._replace(band=None)
      lines.append(Line(name, title, measured))

    add("ECE, all colours", lambda f: _ece(f[..., :_TOP]))
    add("ECE, most likely colour", lambda f: _ece(f[..., _TOP : 2 * _TOP]))
    for k, (title, is_ours) in enumerate(_SCORES.items()):

      def score(f, k=k):
        return f[..., 2 * _TOP + k] / f[..., -1]

      add(title, score, has_band=is_ours)
    measured, said = pools.measure(means, _shares), _said(means.truth)
    curves.append(Curve(f"odds of colours, {name}", said, measured))
  return Part("Colour odds", lines, curves)


# Scores by name, in the order of the features; True for those of the model.
_SCORES = {
  "Brier score": True,
  "Brier score of the training set's frequencies": False,
  "log score": True,
  "log score of the training set's frequencies": False,
}


def forecasts(part: Part) -> list[str]:
  """Says in words how often forecasts for quarters of a picture came true."""
  curve = part.curves[0]
  shares = np.asarray(curve.measured.value, float)
  return [
    f"Of the regions with {said:.0%} odds of a colour, {share:.0%} had it."
    for said, share in zip(curve.levels, shares, strict=True)
    if np.isfinite(share) and said > 0.05
  ]


def frequencies(ab: np.ndarray) -> np.ndarray:
  """Returns the smoothed frequencies [10] of the colours of ab [..., 2]."""
  return odds.shares(color_names.indices(ab).reshape(-1, 1))[0]


def _features(pool, grid, climatology):
  """Returns features [N, M, 2 * 3 * 10 + 4 + 1] of the odds."""
  ab = coarser(pool.means[..., -2:], grid)
  ab = ab.reshape(*ab.shape[:2], -1, 2)
  counted = pools.varies(ab).any(axis=-1)
  colors = color_names.indices(ab)
  # One picture at a time bounds the memory.
  return np.stack(
    [
      _of_picture(own[:, mask], climatology)
      for own, mask in zip(colors, counted, strict=True)
    ]
  )


def _of_picture(colors, climatology):
  """Returns features [M, d] of colours [M, R], for each member as the truth."""
  members, regions = colors.shape
  hit = np.eye(len(color_names.NAMES))[colors]
  # The odds for a member come from all others.
  said = odds.smooth(hit.sum(axis=0) - hit, members - 1)
  index = np.minimum((said * _BINS).astype(int), _BINS - 1)
  top = said >= said.max(axis=-1, keepdims=True)
  scores = []
  for forecast in (said, np.broadcast_to(climatology, said.shape)):
    scores += [
      np.sum((forecast - hit) ** 2, axis=(1, 2)),
      -np.sum(np.log(forecast) * hit, axis=(1, 2)),
    ]
  brier, log, brier_base, log_base = scores
  return np.concatenate(
    [
      _by_bin(index, said, hit, np.ones_like(top)),
      _by_bin(index, said, hit, top),
      np.stack([brier, brier_base, log, log_base], axis=-1),
      np.full((members, 1), float(regions)),
    ],
    axis=-1,
  )


def _by_bin(index, said, hit, counted):
  """Returns [M, 30]: forecasts, their odds and those that came true, by bin."""
  members = len(said)
  place = (index + _BINS * np.arange(members)[:, None, None]).ravel()
  parts = [
    np.bincount(place, (values * counted).ravel(), members * _BINS)
    for values in (np.ones_like(said), said, hit)
  ]
  return np.concatenate([part.reshape(members, -1) for part in parts], axis=1)


def _ece(sums):
  """Returns the ECE of sums [..., 30] by bin."""
  count, said, hit = np.split(sums, 3, axis=-1)
  return np.sum(np.abs(hit - said), axis=-1) / np.sum(count, axis=-1)


def _shares(features):
  """Returns the shares that came true [..., 10], NaN without forecasts."""
  count, _, hit = np.split(features[..., :_TOP], 3, axis=-1)
  return np.divide(hit, count, out=np.full_like(hit, np.nan), where=count > 0)


def _said(features):
  """Returns the mean odds by bin [10]; the middle of a bin if it is empty."""
  count, said, _ = np.split(features[:_TOP], 3)
  middle = (np.arange(_BINS) + 0.5) / _BINS
  return np.where(count > 0, said / np.maximum(count, 1e-12), middle)
