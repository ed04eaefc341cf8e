"""Checks that reference posteriors belong to the benchmark's simulators."""

import jax
import numpy as np
import pytest

from tests.benchmarks.posterior_problems import PROBLEMS

NAMES = sorted(PROBLEMS)
COUNT = 20_000


def _reference(name, seed=0, count=COUNT):
  problem = PROBLEMS[name]
  random = np.random.default_rng(seed)
  return problem.reference(random, problem.observation, count)


def _simulated(name, count):
  simulate = jax.jit(PROBLEMS[name].simulate, static_argnums=1)
  return [np.asarray(a, np.float64) for a in simulate(jax.random.key(1), count)]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_seeds(name):
  problem = PROBLEMS[name]
  theta, x = _simulated(name, 7)
  assert theta.shape == (7, problem.dim) and x.shape == (7, problem.data_dim)
  assert problem.observation.shape == (problem.data_dim,)
  samples = _reference(name, count=50)
  assert samples.shape == (50, problem.dim)
  np.testing.assert_array_equal(samples, _reference(name, count=50))
  assert np.all(np.isfinite(problem.log_joint(samples, problem.observation)))


def _weighted_moments(theta, log_weights):
  """Returns the mean, the covariance and the effective sample size."""
  weights = np.exp(log_weights - log_weights.max())
  weights /= weights.sum()
  return (
    weights @ theta,
    np.cov(theta.T, aweights=weights),
    1 / np.sum(weights**2),
  )


def _proposals(name, count):
  """Draws theta uniformly from a box that contains the posterior."""
  random = np.random.default_rng(3)
  spread = _reference(name, seed=4, count=2000)
  low, high = spread.min(axis=0), spread.max(axis=0)
  margin = 0.1 * (high - low)
  low, high = low - margin, high + margin
  return random.uniform(low, high, size=(count, len(low)))


def _assert_moments(samples, mean, covariance, atol):
  """Compares moments in standard deviations; `atol` is about four errors."""
  scale = samples.std(axis=0)
  error = (samples.mean(axis=0) - mean) / scale
  np.testing.assert_allclose(error, 0, atol=atol)
  off = (np.cov(samples.T) - covariance) / np.outer(scale, scale)
  np.testing.assert_allclose(off, 0, atol=2 * atol)


@pytest.mark.parametrize("name", ["gaussian_mixture", "two_moons"])
def test_reference_follows_prior_times_likelihood(name):
  problem = PROBLEMS[name]
  samples = _reference(name)
  theta = _proposals(name, 1_000_000)
  log_weights = problem.log_joint(theta, problem.observation)
  mean, covariance, effective = _weighted_moments(theta, log_weights)
  assert effective > 5000
  _assert_moments(samples, mean, covariance, atol=0.06)
  # Compares histograms, in the frame of the moons too.
  for turn in (np.eye(2), np.array([[1, 1], [-1, 1]])):
    edges = [np.quantile(samples @ row, np.linspace(0, 1, 9)) for row in turn]
    ours, *_ = np.histogram2d(*(turn @ samples.T), bins=edges)
    weights = np.exp(log_weights - log_weights.max())
    theirs, *_ = np.histogram2d(*(turn @ theta.T), bins=edges, weights=weights)
    difference = ours / ours.sum() - theirs / theirs.sum()
    assert np.abs(difference).sum() < 0.1


def test_moons_have_the_right_radius():
  # The grid is fine enough to notice if the density lacked a factor of the
  # radius, which would change the mean by a hundredth.
  problem = PROBLEMS["two_moons"]
  line = np.linspace(-0.5, 0.5, 1001)
  theta = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
  log_density = problem.log_joint(theta, problem.observation)
  weights = np.exp(log_density)
  first, second = theta.T
  across = 0.25 - np.abs(first + second) / np.sqrt(2)
  radius = np.hypot(across, (second - first) / np.sqrt(2))
  mean = np.average(radius, weights=weights)
  np.testing.assert_allclose(mean, 0.1, rtol=1e-3)


def test_linear_gaussian_reference_has_closed_form():
  # Regression of theta on x over simulations: slope 1/2, variance 0.05.
  theta, x = _simulated("linear_gaussian", 50_000)
  slope = np.linalg.lstsq(x, theta, rcond=None)[0]
  np.testing.assert_allclose(slope, np.eye(10) / 2, atol=0.015)
  residual = np.cov((theta - x / 2).T)
  np.testing.assert_allclose(residual, np.eye(10) * 0.05, atol=0.003)
  samples = _reference("linear_gaussian")
  observation = PROBLEMS["linear_gaussian"].observation
  np.testing.assert_allclose(samples.mean(axis=0), observation / 2, atol=0.01)
  np.testing.assert_allclose(np.cov(samples.T), np.eye(10) * 0.05, atol=0.003)
  # The log joint and the log posterior differ by a constant.
  log_joint = PROBLEMS["linear_gaussian"].log_joint(samples, observation)
  squares = np.sum((samples - observation / 2) ** 2, axis=-1)
  assert np.ptp(log_joint + 0.5 * squares / 0.05) < 1e-9


@pytest.mark.slow
def test_slcp_reference_agrees_with_importance_sampling():
  problem = PROBLEMS["slcp"]
  samples = _reference("slcp", count=5000)
  random = np.random.default_rng(5)
  # m is near the mean of the points, the rest is samples from the whole prior.
  points = problem.observation.reshape(4, 2)
  centre, width = points.mean(axis=0), 1.5
  m = centre + width * random.standard_t(3, size=(1_500_000, 2))
  rest = random.uniform(-3, 3, size=(len(m), 3))
  theta = np.concatenate([m, rest], axis=1)
  log_q = -2 * np.log1p(((m - centre) / width) ** 2 / 3).sum(axis=1)
  with np.errstate(all="ignore"):
    log_p = problem.log_joint(theta, problem.observation)
  log_p = np.where(np.isfinite(log_p), log_p, -np.inf)
  mean, covariance, effective = _weighted_moments(theta, log_p - log_q)
  assert effective > 700
  _assert_moments(samples, mean, covariance, atol=0.15)
  # There are four modes, since the signs of theta_3 and theta_4 are free.
  third, fourth = samples[:, 2:4].T
  shares, *_ = np.histogram2d(third, fourth, bins=[[-3, 0, 3]] * 2)
  np.testing.assert_allclose(shares / len(samples), 0.25, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_simulations_are_calibrated(name):
  # If the simulator and the reference belong together, the ranks of theta among
  # exact draws given its own x are uniform.
  problem = PROBLEMS[name]
  theta, x = _simulated(name, 150 if name != "slcp" else 50)
  random = np.random.default_rng(8)
  ranks = np.array(
    [
      np.sum(problem.reference(random, observed, 19) < t, axis=0)
      for t, observed in zip(theta, x, strict=True)
    ]
  )
  # The mean rank is within four standard errors of 9.5.
  error = np.std(np.arange(20)) / np.sqrt(len(ranks))
  np.testing.assert_allclose(ranks.mean(axis=0), 9.5, atol=4 * error)
  # The spread is about that of the uniform distribution.
  spread = ranks.std(axis=0) / np.std(np.arange(20))
  assert np.all((spread > 0.7) & (spread < 1.3))
