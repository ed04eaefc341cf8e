"""Calibration of posteriors that are correct, too narrow, wide or biased."""

import numpy as np
import pytest

from cinn_jax.evaluation.metrics import calibration as c

N, L, D = 400, 99, 2
LEVELS = [0.5, 0.8, 0.95]
# Posterior of theta ~ N(0, I) given x ~ N(theta, I): N(x / 2, I / 2).
STD = np.sqrt(0.5)


def _simulate(width=1.0, shift=0.0, seed=0):
  """Returns (truth, samples), with the posterior scaled and shifted."""
  random = np.random.default_rng(seed)
  truth = random.normal(size=(N, D))
  mean = (truth + random.normal(size=(N, D))) / 2 + shift
  noise = random.normal(size=(N, L, D))
  return truth, mean[:, None] + width * STD * noise


def test_ranks_count_samples_below_the_truth():
  truth = np.array([[0.0, 10.0], [1.5, -1.0]])
  samples = np.arange(5.0)[None, :, None] * np.ones((2, 1, 2))
  np.testing.assert_array_equal(c.sbc_ranks(truth, samples), [[0, 5], [2, 0]])


def test_correct_posterior_passes():
  truth, samples = _simulate()
  ranks = c.sbc_ranks(truth, samples)
  assert c.rank_test(ranks, L).min() > 0.01
  coverage = c.central_coverage(ranks, L, LEVELS)
  assert coverage.shape == (3, D)
  # Four standard errors.
  np.testing.assert_allclose(coverage, np.stack([LEVELS] * D, 1), atol=0.1)
  near = c.tarp_ranks(truth, samples)
  assert near.shape == (N, 1) and c.rank_test(near, L)[0] > 0.01
  np.testing.assert_allclose(
    c.tarp_coverage(near, L, LEVELS)[:, 0], LEVELS, atol=0.1
  )


def test_narrow_posterior_fails():
  truth, samples = _simulate(width=0.6)
  ranks = c.sbc_ranks(truth, samples)
  assert c.rank_test(ranks, L).max() < 1e-6
  # P(|N(0, 1)| < 0.6 * 1.2816) for the level 0.8, and so on.
  expected = [0.314, 0.558, 0.760]
  coverage = c.central_coverage(ranks, L, LEVELS)
  np.testing.assert_allclose(coverage, np.stack([expected] * D, 1), atol=0.08)
  near = c.tarp_ranks(truth, samples)
  assert c.rank_test(near, L)[0] < 1e-6
  assert c.tarp_coverage(near, L, [0.9])[0, 0] < 0.85


def test_wide_posterior_covers_too_much():
  ranks = c.sbc_ranks(*_simulate(width=1.7))
  assert c.rank_test(ranks, L).max() < 1e-6
  coverage = c.central_coverage(ranks, L, LEVELS[:2])
  assert np.all(coverage.T - LEVELS[:2] > 0.05)


def test_biased_posterior_fails():
  truth, samples = _simulate(shift=np.array([0.6, 0.0]))
  ranks = c.sbc_ranks(truth, samples)
  p_values = c.rank_test(ranks, L)
  assert p_values[0] < 1e-6 and p_values[1] > 0.01
  # The samples are too large, so the truth has low ranks.
  assert ranks[:, 0].mean() < 0.4 * L
  assert c.rank_test(c.tarp_ranks(truth, samples), L)[0] < 1e-3


def test_tarp_detects_wrong_dependence():
  random = np.random.default_rng(0)
  truth, noise = random.normal(size=(N, 1)), random.normal(size=(N, L, D))
  truth = np.repeat(truth, D, axis=1)  # Both parameters are equal.
  assert c.rank_test(c.sbc_ranks(truth, noise), L).min() > 0.01
  assert c.rank_test(c.tarp_ranks(truth, noise), L)[0] < 1e-4


def test_tarp_with_references():
  truth = np.array([[0.0, 0.0], [1.0, 10.0]])
  references = np.zeros((2, 2))
  samples = np.array([[[0.1, 0], [0, 5]], [[0.9, 10], [3, 9.5]]])
  near = c.tarp_ranks(truth, samples, references)
  # Parameters are scaled by their ranges: 1 and 10.
  np.testing.assert_array_equal(near, [[0], [1]])
  one, other = (c.tarp_ranks(*_simulate(), seed=seed) for seed in (0, 1))
  assert np.any(one != other)
  np.testing.assert_array_equal(one, c.tarp_ranks(*_simulate(), seed=0))


def test_rank_test_with_unequal_bins():
  # 8 ranks in 3 bins of 3, 3 and 2.
  ranks = np.repeat(np.arange(8), 10)[:, None]
  counts, expected = c.bin_counts(ranks, 7, 3)
  np.testing.assert_array_equal(counts, [[30, 30, 20]])
  np.testing.assert_allclose(expected, counts)
  assert c.rank_test(ranks, 7)[0] == 1.0
  # By hand: counts 20 and 10 for expected 15 each, chi2 = 50 / 15.
  lopsided = np.repeat([0, 1], [20, 10])[:, None]
  np.testing.assert_allclose(c.rank_test(lopsided, 1), [0.0679], atol=1e-4)


def test_few_ranks_use_few_bins():
  # 12 ranks have two bins, 6 expected in each; all are in one: chi2 = 12.
  low = np.arange(12)[:, None]
  np.testing.assert_allclose(c.rank_test(low, L), [5.32e-4], rtol=1e-3)


def test_coverage_of_even_ranks_is_the_level():
  ranks = np.arange(100)[:, None]
  levels = np.linspace(0, 1, 11)
  coverage = c.central_coverage(ranks, 99, levels)[:, 0]
  np.testing.assert_allclose(coverage, levels, atol=1e-12)
  np.testing.assert_allclose(
    c.tarp_coverage(ranks, 99, levels)[:, 0], levels, atol=1e-12
  )


def _samples(seed, shift=0.0, scale=1.0, count=300):
  noise = np.random.default_rng(seed).normal(size=(count, 2))
  return np.array([3.0, -100.0]) + np.array([1.0, 50.0]) * scale * noise + shift


def test_c2st_of_equal_and_different_distributions():
  equal = c.c2st(_samples(0), _samples(1))
  # Four standard errors of an accuracy over 600.
  assert abs(equal - 0.5) < 0.08
  assert equal == c.c2st(_samples(0), _samples(1))
  assert c.c2st(_samples(0, shift=300.0), _samples(1)) > 0.99
  # The deviation is a third of the reference's.
  assert c.c2st(_samples(0, scale=1 / 3), _samples(1)) > 0.6


NAN = np.full((20, 3, 2), np.nan)


@pytest.mark.parametrize(
  "call, message",
  [
    (lambda: c.sbc_ranks(np.ones((3, 2)), np.ones((4, 9, 2))), r"\[3, 2\] and"),
    (
      lambda: c.sbc_ranks(np.ones(3), np.ones((3, 9))),
      r"truth must be \[N, D\]",
    ),
    (lambda: c.sbc_ranks(np.ones((20, 2)), NAN), "not finite"),
    (lambda: c.tarp_ranks(*_simulate(), np.ones((2, 2))), "one per truth"),
    (lambda: c.rank_test(np.full((20, 1), 9), 8), "0 to 8"),
    (lambda: c.rank_test(np.ones((20, 1)), 8), "integers"),
    (lambda: c.rank_test(np.ones((9, 1), int), 8), "at least 10"),
    (lambda: c.central_coverage(np.ones((9, 1), int), 8, [90]), "from 0 to 1"),
    (lambda: c.c2st(np.ones((9, 2)), np.ones((9, 3))), "2 parameters, .* 3"),
    (lambda: c.c2st(np.ones((9, 2)), np.ones((9, 2))), "0 does not vary"),
    (lambda: c.c2st(_samples(0)[:3], _samples(1)), "at least 5 samples"),
    (lambda: c.c2st(NAN[:, 0], _samples(1)), "samples has numbers that are"),
  ],
)
def test_bad_input_raises(call, message):
  with pytest.raises(ValueError, match=message):
    call()
