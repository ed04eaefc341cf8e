"""`fit` recovers a posterior that is known exactly."""

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.evaluation.metrics import calibration
from tests.support.linear_gaussian import (
  FLOW,
  MATRIX,
  NOISE,
  draw_data,
  simulate,
)


def _key(seed):
  return jax.random.key(seed)


def _posterior(x):
  """Returns the mean and the covariance of theta given x."""
  covariance = np.linalg.inv(np.eye(2) + MATRIX.T @ MATRIX / NOISE**2)
  return covariance @ MATRIX.T @ x / NOISE**2, covariance


def _assert_recovers(variables):
  x = np.array([0.5, -1.0, 0.3], np.float32)
  draw = jax.jit(FLOW.sample, static_argnames="num_samples")
  samples, _ = draw(variables, _key(9), x[None], num_samples=4000)
  samples = np.asarray(samples[0])
  mean, covariance = _posterior(x)
  # The posterior's standard deviation is about 0.45. The tolerances are a fifth
  # of that, and a quarter of the variance.
  np.testing.assert_allclose(samples.mean(0), mean, atol=0.09)
  np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.05)
  random = np.random.default_rng(0)
  exact = random.multivariate_normal(mean, covariance, 1000)
  assert calibration.c2st(samples[:1000], exact) < 0.58


@pytest.fixture(scope="module")
def fitted():
  data = draw_data()
  return cinn_jax.fit(FLOW, _key(1), *data, num_epochs=50, progress=False)


def test_recovers_a_linear_gaussian_posterior(fitted):
  _assert_recovers(fitted.variables)
  # The exact mean is minus the posterior's entropy, in nats. The tolerance is
  # four standard errors of 800 rows.
  covariance = _posterior(np.zeros(3))[1]
  exact = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
  history = fitted.history
  assert abs(history.validation_log_prob[history.best_epoch] - exact) < 0.15


def test_posterior_is_calibrated(fitted):
  theta, x = simulate(_key(77), 300)
  draw = jax.jit(FLOW.sample, static_argnames="num_samples")
  samples, _ = draw(fitted.variables, _key(3), x, num_samples=99)
  ranks = calibration.sbc_ranks(theta, samples)
  assert calibration.rank_test(ranks, 99).min() > 1e-3
  coverage = calibration.central_coverage(ranks, 99, [0.5, 0.9])
  np.testing.assert_allclose(coverage, [[0.5] * 2, [0.9] * 2], atol=0.12)


@pytest.mark.slow
def test_simulator_replaces_arrays():
  variables, history = cinn_jax.fit(
    FLOW,
    _key(1),
    simulate,
    num_epochs=8,
    steps_per_epoch=100,
    learning_rate=2e-3,
    progress=False,
  )
  _assert_recovers(variables)
  assert len(history.train_log_prob) == 8
