"""KID: against its definition, without bias, and its interval."""

import numpy as np
import pytest

from cinn_jax.evaluation.metrics.kid import kernel_distance


def _kernel(one, other):
  return (one @ other / len(one) + 1) ** 3


def test_by_definition():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 5, 3))
  terms = [
    _kernel(a[k], a[m])
    + _kernel(b[k], b[m])
    - _kernel(a[k], b[m])
    - _kernel(b[k], a[m])
    for k in range(5)
    for m in range(5)
    if k != m
  ]
  value, interval = kernel_distance(a, b)
  assert value == pytest.approx(np.mean(terms))
  without = [
    kernel_distance(np.delete(a, k, 0), np.delete(b, k, 0))[0] for k in range(5)
  ]
  error = np.sqrt(4 * np.var(without))
  assert interval == pytest.approx((value - 1.96 * error, value + 1.96 * error))


def test_no_bias_though_rows_belong_together():
  # Rows of b follow those of a, and both have one distribution.
  rng = np.random.default_rng(1)
  values = []
  for _ in range(3000):
    a = rng.normal(size=(6, 2))
    b = 0.8 * a + 0.6 * rng.normal(size=(6, 2))
    values.append(kernel_distance(a, b)[0])
  error = np.std(values) / np.sqrt(len(values))
  assert abs(np.mean(values)) < 4 * error
  assert min(values) < 0


def test_interval_holds_the_truth_about_as_often_as_it_says():
  rng = np.random.default_rng(2)
  shift = np.array([0, 0.7])[:, None, None]
  results = [
    kernel_distance(*(rng.normal(size=(2, 100, 8)) + shift)) for _ in range(300)
  ]
  # Unbiased, so the mean over many sets is the truth.
  truth = np.mean([value for value, _ in results])
  share = np.mean([low < truth < high for _, (low, high) in results])
  assert 0.9 < share < 0.99


def test_two_rows_have_no_interval():
  value, interval = kernel_distance(np.eye(2), 2 * np.eye(2))
  assert np.isfinite(value) and interval is None


@pytest.mark.parametrize(
  ("a", "b", "message"),
  [
    (np.zeros((3, 2)), np.zeros((4, 2)), r"one shape; got \[3, 2\] and \[4, 2"),
    (np.zeros((1, 2)), np.zeros((1, 2)), "at least two pictures"),
    (np.zeros((3, 2)), np.full((3, 2), np.inf), "b has features"),
  ],
)
def test_bad_features_raise(a, b, message):
  with pytest.raises(ValueError, match=message):
    kernel_distance(a, b)


def test_rows_beyond_a_chunk_count():
  rng = np.random.default_rng(3)
  a, b = rng.normal(size=(2, 700, 3))
  inner = [(one @ other.T / 3 + 1) ** 3 for one, other in ((a, a), (b, b))]
  cross = (a @ b.T / 3 + 1) ** 3
  terms = sum(inner) - cross - cross.T
  np.fill_diagonal(terms, 0)
  value, _ = kernel_distance(a, b)
  assert value == pytest.approx(terms.sum() / (700 * 699))
