"""Metrics of pictures drawn for a class, against values by hand."""

import numpy as np
import pytest

from cinn_jax.evaluation.by_task import class_metrics
from cinn_jax.evaluation.metrics import splits
from cinn_jax.evaluation.tables import table

LABELS = np.array([0, 1, 0, 1, 1])


def _pictures(count=5, draws=3, size=4, seed=0):
  random = np.random.default_rng(seed)
  return random.integers(0, 256, (count, draws, size, size), np.uint8)


def test_nearest_against_all_distances():
  training, pictures = _pictures(600, 1, seed=1)[:, 0], _pictures(300, 1)[:, 0]
  rmse, index = class_metrics.make_nearest(training)(pictures)
  difference = pictures[:, None] / 255.0 - training[None] / 255.0
  every = 100 * np.sqrt(np.square(difference).mean(axis=(2, 3)))
  np.testing.assert_array_equal(index, every.argmin(axis=1))
  np.testing.assert_allclose(rmse, every.min(axis=1), rtol=1e-12)


def test_copies_have_no_distance():
  training = _pictures(50, 1, size=8)[:, 0]
  rmse, index = class_metrics.make_nearest(training)(training[::7])
  assert rmse.tolist() == [0.0] * 8
  assert index.tolist() == list(range(0, 50, 7))


def test_another_size_raises():
  nearest = class_metrics.make_nearest(_pictures()[:, 0])
  with pytest.raises(ValueError, match=r"are \[4, 4\], these are \[6, 6\]"):
    nearest(_pictures(size=6)[:, 0])


def test_spread_by_hand():
  # Class 0: levels 0 and 51, 0.1 of the range from their mean; class 1: equal.
  pictures = np.array([0, 51, 7, 7, 7], np.uint8).reshape(5, 1, 1, 1)
  values = class_metrics.spread(pictures, np.array([0, 0, 1, 1, 1]))
  expected = 100 * 0.1 * np.sqrt(2 / 1)
  np.testing.assert_allclose(values, [expected, expected, 0, 0, 0], atol=1e-9)


def test_spread_estimates_the_deviation_within_a_class():
  random = np.random.default_rng(0)
  shape = (1_000, 4, 5, 5)
  # Class means are far apart, which must not count; class 0 has few pictures.
  labels = np.arange(1_000) > 2
  levels = np.where(labels[:, None, None, None], 60.0, 180.0)
  pictures = np.round(levels + 10 * random.normal(size=shape)).astype(np.uint8)
  values = class_metrics.spread(pictures, labels)
  for in_class, tolerance in ((labels, 0.02), (~labels, 0.15)):
    deviation = splits.reduce(values[in_class], "root mean square")
    assert deviation == pytest.approx(100 * 10 / 255, rel=tolerance)


def test_spread_is_unbiased():
  pictures = _pictures()
  values = class_metrics.spread(pictures, LABELS)
  members = pictures[LABELS == 1].reshape(9, 16) / 255.0
  pooled = np.sum(np.square(values[LABELS == 1] / 100)) / 3
  assert pooled == pytest.approx(members.var(axis=0, ddof=1).mean())


def test_row_has_every_metric():
  pictures, training = _pictures(), _pictures(9, 1, seed=1)[:, 0]
  nearest = class_metrics.make_nearest(training)
  # This classifier answers 0 if the first pixel is odd, and 1 if it is even.
  flat = pictures.reshape(15, 4, 4)
  even = flat[:, 0, 0] % 2 == 0
  row = class_metrics.evaluate(
    pictures, LABELS, lambda p: np.where(p[:, 0, 0] % 2, 0, 1), nearest, seed=3
  )
  assert (row.mark, row.images, row.samples) == ("ours", 5, 3)
  right = np.where(
    LABELS[:, None] == 1, even.reshape(5, 3), ~even.reshape(5, 3)
  )
  expected = {
    "accuracy": 100 * right.mean(axis=1),
    "spread": class_metrics.spread(pictures, LABELS),
    "neighbour": nearest(flat)[0].reshape(5, 3).mean(axis=1),
  }
  assert list(row.metrics) == list(expected) == list(class_metrics.METRICS)
  reductions = ("mean", "root mean square", "mean")
  for (name, values), reduction in zip(
    expected.items(), reductions, strict=True
  ):
    value, error = row.metrics[name]
    assert value == pytest.approx(splits.reduce(values, reduction))
    assert error == splits.bootstrap_error(values, reduction, seed=3) > 0
  assert "nearest training image [%]" in table.table(
    {"x": row}, class_metrics.METRICS
  )
