"""Precision and recall of a set of samples, by neighbours among features.

(Kynkäänniemi et al. 2019, arXiv:1904.06991.) Each point of a set has a ball up
to its k-th neighbour in the same set, and the balls of all points together
stand for the set's support.
"""

from typing import NamedTuple

import numpy as np

from cinn_jax.evaluation.metrics.fid import check_features

_CHUNK = 512


class PrecisionRecall(NamedTuple):
  """Shares in percent.

  Attributes:
    precision: Samples inside the support of the real ones: are they real?
    recall: Real ones inside the support of the samples: are all kinds there?
  """

  precision: float
  recall: float


def precision_recall(
  real: np.ndarray, samples: np.ndarray, neighbours: int = 3
) -> PrecisionRecall:
  """Returns precision and recall of samples.

  They depend on the numbers of rows, so compare only sets of equal sizes.

  Args:
    real: Features of real examples, [N, D].
    samples: Features of samples, [M, D].
    neighbours: k, 3 as published.

  Raises:
    ValueError: for other shapes, numbers that are not finite, or fewer rows
      than k + 1.
  """
  real, samples = (
    check_features(real, "real"),
    check_features(samples, "samples"),
  )
  if real.shape[1] != samples.shape[1]:
    raise ValueError(
      f"Both sets need features of one length; got {real.shape[1]} and"
      f" {samples.shape[1]}."
    )
  if min(len(real), len(samples)) <= neighbours:
    raise ValueError(
      f"{neighbours} neighbours take sets of more than {neighbours} rows, got"
      f" {len(real)} and {len(samples)}."
    )
  return PrecisionRecall(
    precision=_share_inside(real, samples, neighbours),
    recall=_share_inside(samples, real, neighbours),
  )


def _share_inside(support, points, neighbours):
  """Returns the share of `points` in the balls of `support`, in percent."""
  # The nearest of a point's own set is the point itself.
  radii = np.concatenate(
    [
      np.partition(part, neighbours, axis=1)[:, neighbours]
      for part in _distances(support, support)
    ]
  )
  inside = [(part <= radii).any(axis=1) for part in _distances(points, support)]
  return 100 * float(np.concatenate(inside).mean())


def _distances(points, others):
  """Yields squared distances [c, N] of some points after another."""
  norms = np.square(others).sum(axis=1)
  for first in range(0, len(points), _CHUNK):
    part = points[first : first + _CHUNK]
    yield np.maximum(
      np.square(part).sum(axis=1)[:, None] + norms - 2 * part @ others.T, 0
    )
