"""Precision and recall of sets of features."""

import numpy as np
import pytest

from cinn_jax.evaluation.metrics.precision_recall import precision_recall

REAL = np.random.default_rng(0).normal(size=(400, 2))


def test_equal_distributions_have_both():
  samples = np.random.default_rng(1).normal(size=(600, 2))
  precision, recall = precision_recall(REAL, samples)
  assert precision > 90 and recall > 90


def test_a_collapsed_mode_loses_recall_alone():
  two = np.concatenate([REAL - 20, REAL + 20])
  one = np.random.default_rng(2).normal(size=(400, 2)) + 20
  precision, recall = precision_recall(two, one)
  assert precision > 90
  assert recall == pytest.approx(50, abs=8)


def test_outliers_lose_precision_alone():
  random = np.random.default_rng(3)
  half = np.concatenate([random.normal(size=(400, 2)), 50 + 100 * REAL])
  precision, recall = precision_recall(REAL, half)
  assert precision == pytest.approx(50, abs=8)
  assert recall > 90


def test_balls_reach_the_kth_neighbour():
  # On a line: the radius of every point is 2 for two neighbours.
  line = np.arange(0.0, 40.0)[:, None]
  shifted = np.arange(0.0, 4.0)[:, None] + 41.5
  by_count = [precision_recall(line, shifted, k) for k in (1, 2, 3)]
  # The last point, 39, reaches its k-th neighbour at 39 - k.
  assert [round(p.precision) for p in by_count] == [0, 0, 25]


@pytest.mark.parametrize(
  "samples, complaint",
  [
    (np.zeros((3, 2)), "more than 3 rows, got 400 and 3"),
    (np.zeros((9, 3)), "one length; got 2 and 3"),
  ],
)
def test_sets_that_do_not_fit_raise(samples, complaint):
  with pytest.raises(ValueError, match=complaint):
    precision_recall(REAL, samples)
