"""The benchmark's reference posteriors are those of its simulators."""

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
  drawn = _reference(name, count=50)
  assert drawn.shape == (50, problem.dim)
  np.testing.assert_array_equal(drawn, _reference(name, count=50))
  assert np.all(np.isfinite(problem.log_joint(drawn, problem.observation)))


def _weighted_moments(theta, log_weights):
  """Mean, covariance, and how many equal weights would say as much."""
  weights = np.exp(log_weights - log_weights.max())
  weights /= weights.sum()
  return (
    weights @ theta,
    np.cov(theta.T, aweights=weights),
    1 / np.sum(weights**2),
  )


def _proposals(name, count):
  """theta, uniform over a box that holds the posterior."""
  random = np.random.default_rng(3)
  spread = _reference(name, seed=4, count=2000)
  low, high = spread.min(axis=0), spread.max(axis=0)
  margin = 0.1 * (high - low)
  low, high = low - margin, high + margin
  return random.uniform(low, high, size=(count, len(low)))


def _assert_moments(drawn, mean, covariance, atol):
  """Agreement in units of the deviations; `atol` is about four errors."""
  scale = drawn.std(axis=0)
  np.testing.assert_allclose((drawn.mean(axis=0) - mean) / scale, 0, atol=atol)
  off = (np.cov(drawn.T) - covariance) / np.outer(scale, scale)
  np.testing.assert_allclose(off, 0, atol=2 * atol)


@pytest.mark.parametrize("name", ["gaussian_mixture", "two_moons"])
def test_reference_has_the_density_of_prior_times_likelihood(name):
  problem = PROBLEMS[name]
  drawn = _reference(name)
  theta = _proposals(name, 1_000_000)
  log_weights = problem.log_joint(theta, problem.observation)
  mean, covariance, effective = _weighted_moments(theta, log_weights)
  assert effective > 5000
  _assert_moments(drawn, mean, covariance, atol=0.06)
  # Cell by cell, in the frame of the moons as well.
  for turn in (np.eye(2), np.array([[1, 1], [-1, 1]])):
    edges = [np.quantile(drawn @ row, np.linspace(0, 1, 9)) for row in turn]
    ours, *_ = np.histogram2d(*(turn @ drawn.T), bins=edges)
    weights = np.exp(log_weights - log_weights.max())
    theirs, *_ = np.histogram2d(*(turn @ theta.T), bins=edges, weights=weights)
    difference = ours / ours.sum() - theirs / theirs.sum()
    assert np.abs(difference).sum() < 0.1


def test_moons_have_the_density_of_their_radius():
  # On a fine grid, so that a factor of the radius shows: it would move the
  # mean by a hundredth.
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


def test_linear_gaussian_reference_is_the_closed_form():
  # Regression of theta on x over simulations: slope 1/2, variance 0.05.
  theta, x = _simulated("linear_gaussian", 50_000)
  slope = np.linalg.lstsq(x, theta, rcond=None)[0]
  np.testing.assert_allclose(slope, np.eye(10) / 2, atol=0.015)
  residual = np.cov((theta - x / 2).T)
  np.testing.assert_allclose(residual, np.eye(10) * 0.05, atol=0.003)
  drawn = _reference("linear_gaussian")
  observation = PROBLEMS["linear_gaussian"].observation
  np.testing.assert_allclose(drawn.mean(axis=0), observation / 2, atol=0.01)
  np.testing.assert_allclose(np.cov(drawn.T), np.eye(10) * 0.05, atol=0.003)
  # ln p of the joint differs from the posterior's by a constant.
  log_joint = PROBLEMS["linear_gaussian"].log_joint(drawn, observation)
  squares = np.sum((drawn - observation / 2) ** 2, axis=-1)
  assert np.ptp(log_joint + 0.5 * squares / 0.05) < 1e-9


def test_slcp_reference_agrees_with_importance_sampling():
  problem = PROBLEMS["slcp"]
  drawn = _reference("slcp", count=5000)
  random = np.random.default_rng(5)
  # m near the mean of the points, all else over its whole prior.
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
  _assert_moments(drawn, mean, covariance, atol=0.15)
  # Four modes: the signs of theta_3 and theta_4 are open.
  shares = np.histogram2d(drawn[:, 2], drawn[:, 3], bins=[[-3, 0, 3]] * 2)[0]
  np.testing.assert_allclose(shares / len(drawn), 0.25, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_simulations_are_calibrated_under_their_own_posterior(name):
  # Ranks of theta among exact draws given its own x are uniform, if simulator
  # and reference belong together.
  problem = PROBLEMS[name]
  theta, x = _simulated(name, 150 if name != "slcp" else 50)
  random = np.random.default_rng(8)
  ranks = np.array(
    [
      np.sum(problem.reference(random, observed, 19) < t, axis=0)
      for t, observed in zip(theta, x, strict=True)
    ]
  )
  # The mean rank over all of them, within four standard errors of 9.5.
  error = np.std(np.arange(20)) / np.sqrt(len(ranks))
  np.testing.assert_allclose(ranks.mean(axis=0), 9.5, atol=4 * error)
  # And their spread: that of the uniform distribution, not half nor double.
  spread = ranks.std(axis=0) / np.std(np.arange(20))
  assert np.all((spread > 0.7) & (spread < 1.3))
