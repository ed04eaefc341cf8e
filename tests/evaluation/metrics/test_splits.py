"""Summaries of a split: reductions, bootstrap errors and intervals."""

import numpy as np
import pytest

from cinn_jax.evaluation.metrics import splits


def test_reduce():
  values = [3.0, 4.0, 12.0]
  assert splits.reduce(values, "mean") == pytest.approx(19 / 3)
  assert splits.reduce(values, "root mean square") == pytest.approx(
    (169 / 3) ** 0.5
  )
  assert splits.reduce(values, "max") == 12.0
  with pytest.raises(ValueError, match="'median'"):
    splits.reduce(values, "median")


def test_bootstrap_error_is_the_standard_error():
  values = np.random.default_rng(1).exponential(2.0, 4000)
  expected = values.std() / np.sqrt(len(values))
  # The relative error of a deviation of 256 resamples is 1 / sqrt(2 * 256).
  error = splits.bootstrap_error(values)
  assert error == pytest.approx(expected, rel=4 / np.sqrt(512))
  assert error == splits.bootstrap_error(values)
  assert error != splits.bootstrap_error(values, seed=1)
  # d sqrt(m) = dm / (2 sqrt(m)).
  squares = values**2
  pooled = squares.std() / np.sqrt(len(values)) / (2 * squares.mean() ** 0.5)
  assert splits.bootstrap_error(values, "root mean square") == pytest.approx(
    pooled, rel=4 / np.sqrt(512)
  )


def test_bootstrap_error_by_hand():
  values, calls = np.array([0.0, 1.0, 5.0]), 7
  rng = np.random.default_rng(3)
  means = [values[rng.integers(3, size=3)].mean() for _ in range(calls)]
  error = splits.bootstrap_error(values, resamples=calls, seed=3)
  assert error == pytest.approx(np.std(means), rel=1e-12)
  assert splits.bootstrap_error(values) == splits.bootstrap_error(
    values, resamples=256
  )


def test_bootstrap_error_without_a_meaning():
  assert splits.bootstrap_error([1.0]) is None
  assert splits.bootstrap_error([1.0, 2.0], "max") is None


def test_bootstrap_interval():
  values = np.random.default_rng(1).exponential(2.0, 4000)
  low, high = splits.bootstrap_interval(values)
  error = values.std() / np.sqrt(len(values))
  # The mean is normal; percentiles of 1,000 have an error of about 0.1 sd.
  assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
  assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
  assert (low, high) == splits.bootstrap_interval(values)
  narrow = splits.bootstrap_interval(values, level=0.5)
  assert low < narrow[0] < narrow[1] < high
  assert splits.bootstrap_interval([1.0]) is None


def test_intervals_hold_the_truth():
  rng = np.random.default_rng(0)
  hits = 0
  for _ in range(200):
    low, high = splits.bootstrap_interval(rng.normal(size=40), resamples=200)
    hits += low < 0 < high
  # Percentile intervals of 40 values are slightly narrow; 4 sd are 6 %.
  assert 0.86 < hits / 200 < 0.99


class TestAccumulator:
  def test_batches_and_padding_do_not_change_a_split(self):
    values = np.random.default_rng(2).random(11)
    whole = splits.Accumulator({"a": "mean", "b": "root mean square"})
    whole.add({"a": values, "b": values})
    parts = splits.Accumulator({"a": "mean", "b": "root mean square"})
    for start in (0, 4, 8):
      batch = np.full(4, np.nan)  # Padding is ignored.
      real = values[start : start + 4]
      batch[: len(real)] = real
      parts.add({"a": batch, "b": batch}, mask=np.arange(4) < len(real))
    assert parts.count == whole.count == 11
    np.testing.assert_array_equal(parts.values("a"), values)
    assert parts.summary() == whole.summary()
    value, error = parts.summary()["a"]
    assert value == pytest.approx(values.mean(), rel=1e-15)
    assert error == splits.bootstrap_error(values)
    assert parts.summary()["b"][0] == pytest.approx(np.mean(values**2) ** 0.5)
    assert parts.summary(seed=1)["a"][1] != error

  @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
  def test_values_that_are_not_finite_raise(self, bad):
    split = splits.Accumulator({"rmse": "mean"})
    split.add({"rmse": [1.0, 2.0, 3.0]}, mask=[1, 0, 1])
    with pytest.raises(ValueError, match=r"rmse is -?(nan|inf) for image 3 "):
      split.add({"rmse": [0.0, np.nan, bad]}, mask=[1, 0, 1])
    assert split.count == 2 and split.summary()["rmse"][0] == 2.0

  @pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
      ({"a": [1.0]}, None, r"expected values of \['a', 'b'\]; got \['a'\]"),
      ({"a": [1.0], "b": [1.0, 2.0]}, None, "one value per image"),
      ({"a": 1.0, "b": 1.0}, None, "one value per image"),
      ({"a": [1.0], "b": [1.0]}, [1, 0], r"mask must be \[1\]"),
      ({"a": [1.0], "b": [1.0]}, [0.5], r"mask must be \[1\] zeros and ones"),
    ],
  )
  def test_bad_batches_raise(self, values, mask, message):
    split = splits.Accumulator({"a": "mean", "b": "mean"})
    with pytest.raises(ValueError, match=message):
      split.add(values, mask)
    assert split.count == 0

  def test_empty_split_raises(self):
    split = splits.Accumulator({"a": "mean"})
    split.add({"a": [np.nan, 1.0]}, mask=[0, 0])
    with pytest.raises(ValueError, match="no image was evaluated"):
      split.summary()

  def test_intervals(self):
    values = np.random.default_rng(2).random(11)
    split = splits.Accumulator({"a": "mean", "b": "max"})
    split.add({"a": values, "b": values})
    assert split.intervals(seed=3) == {
      "a": splits.bootstrap_interval(values, seed=3)
    }
