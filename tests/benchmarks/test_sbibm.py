"""Checks sbibm's tasks against published formulas and, if given, its archive.

SBIBM=FILE names the archive with observations and reference posteriors.
"""

import os
import pathlib
import sys

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import solve_ivp
from scipy.special import expit

# The scripts import each other as they do when they are run.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sbibm_dynamics
import sbibm_references
import sbibm_tasks
from sbibm_tasks import TASKS

needs_archive = pytest.mark.skipif(
  "SBIBM" not in os.environ, reason="SBIBM does not name sbibm's archive"
)
COUNT = 3000


def _simulate(name, n=COUNT, seed=0):
  theta, x = TASKS[name].simulate(np.random.default_rng(seed), n)
  return theta.astype(np.float64), x.astype(np.float64)


def _assert_zero_mean(values):
  """Fails if a column's mean is more than five standard errors from 0."""
  error = values.std(axis=0) / np.sqrt(len(values))
  assert np.all(np.abs(values.mean(axis=0)) < 5 * error)


@pytest.mark.parametrize("name", TASKS)
def test_shapes_seeds_and_bounds(name):
  task = TASKS[name]
  theta, x = task.simulate(np.random.default_rng(3), 20)
  assert theta.shape == (20, task.dim) and x.shape == (20, task.data_dim)
  assert theta.dtype == x.dtype == np.float32
  again = task.simulate(np.random.default_rng(3), 20)
  np.testing.assert_array_equal(again[0], theta)
  np.testing.assert_array_equal(again[1], x)
  assert not np.array_equal(task.simulate(np.random.default_rng(4), 20)[1], x)
  assert task.low is None or theta.min() > task.low
  assert task.high is None or theta.max() < task.high


@pytest.mark.parametrize(
  "name, scale, noise",
  [
    ("gaussian_linear", np.sqrt(0.1), np.sqrt(0.1)),
    ("gaussian_linear_uniform", 1 / np.sqrt(3), np.sqrt(0.1)),
    ("gaussian_mixture", 10 / np.sqrt(3), np.sqrt(0.505)),
  ],
)
def test_widths_of_prior_and_noise(name, scale, noise):
  theta, x = _simulate(name)
  np.testing.assert_allclose(theta.std(), scale, rtol=0.03)
  np.testing.assert_allclose((x - theta).std(), noise, rtol=0.04)
  _assert_zero_mean(np.concatenate([theta, x - theta], axis=1))


def test_glm_spikes_follow_the_logistic_model():
  # Score of sufficient statistics: x - X' P(spike), with Fisher's information.
  theta, x = _simulate("bernoulli_glm", 20_000)
  design = sbibm_tasks.design_matrix()
  rates = expit(theta @ design.T)
  score = x - rates @ design
  _assert_zero_mean(score)
  _assert_zero_mean((score[:, :, None] * theta[:, None]).reshape(len(x), -1))
  information = np.einsum("nt,ti,tj->ij", rates * (1 - rates), design, design)
  information /= len(x)
  scale = np.sqrt(np.diag(information))
  off = (np.cov(score.T) - information) / np.outer(scale, scale)
  assert np.abs(off).max() < 0.05


def test_glm_prior_is_smooth():
  theta, _ = _simulate("bernoulli_glm", 20_000)
  np.testing.assert_allclose(theta[:, 0].var(), 2, rtol=0.05)
  # F theta is white, F as published: 1 + sqrt(i / 9), -2 and 1 on diagonals.
  i = np.arange(9)
  root = np.diag(1 + np.sqrt(i / 9)) - 2 * np.eye(9, k=-1) + np.eye(9, k=-2)
  white = theta[:, 1:] @ root.T
  np.testing.assert_allclose(np.cov(white.T), np.eye(9), atol=0.06)


def test_log_normal_priors():
  for name, mean, std in (
    ("sir", np.log([0.4, 0.125]), [0.5, 0.2]),
    ("lotka_volterra", [-0.125, -3, -0.125, -3], [0.5] * 4),
  ):
    theta, _ = _simulate(name, 500)
    z = (np.log(theta) - mean) / std
    _assert_zero_mean(z)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.15)


def _solve_alone(slope, start, days):
  solution = solve_ivp(
    slope, (0, days[-1]), start, t_eval=days, rtol=1e-10, atol=1e-10
  )
  return solution.y


def test_epidemics_match_solutions_one_by_one():
  theta = np.random.default_rng(0).uniform([0.1, 0.08], [1.5, 0.2], (40, 2))
  together = sbibm_dynamics.infected(theta)

  def slope(_, state):
    s, i = state
    return [-beta * s * i / 1e6, beta * s * i / 1e6 - gamma * i]

  for k in (0, 17, 39):
    beta, gamma = theta[k]
    alone = _solve_alone(slope, [1e6 - 1, 1], sbibm_dynamics.EPIDEMIC_DAYS)
    np.testing.assert_allclose(together[k], alone[1] / 1e6, rtol=1e-5)


def test_hunts_match_solutions_one_by_one():
  theta = np.exp(
    np.random.default_rng(1).normal([-0.1, -3, -0.1, -3], 0.5, (40, 4))
  )
  together = sbibm_dynamics.prey_and_predators(theta)

  def slope(_, state):
    x, y = state
    return [alpha * x - beta * x * y, -gamma * y + delta * x * y]

  for k in (0, 17, 39):
    alpha, beta, gamma, delta = theta[k]
    alone = _solve_alone(slope, [30, 1], sbibm_dynamics.HUNT_DAYS)
    np.testing.assert_allclose(together[k], alone.ravel(), rtol=1e-5)
  # The energy of each system is conserved.
  x, y = together.reshape(40, 2, 10).swapaxes(0, 1)
  alpha, beta, gamma, delta = theta.T[..., None]
  energy = delta * x - gamma * np.log(x) + beta * y - alpha * np.log(y)
  np.testing.assert_allclose(energy, energy[:, :1].repeat(10, 1), atol=1e-5)


def test_noise_of_epidemics_is_binomial():
  theta, x = _simulate("sir", 500)
  share = sbibm_dynamics.infected(theta)
  seen = share > 0.01
  spread = np.sqrt(1000 * share * (1 - share))
  z = ((x - 1000 * share) / spread)[seen]
  assert abs(z.mean()) < 5 / np.sqrt(len(z))
  np.testing.assert_allclose(z.std(), 1, atol=0.1)
  assert np.array_equal(x, np.round(x)) and x.max() <= 1000


def test_noise_of_hunts_is_log_normal():
  theta, x = _simulate("lotka_volterra", 300)
  numbers = sbibm_dynamics.prey_and_predators(theta).clip(1e-10, 1e4)
  z = np.log(x / numbers).ravel() / 0.1
  assert scipy.stats.kstest(z, "norm").pvalue > 1e-3


def test_missing_archive_says_what_to_pass(tmp_path):
  with pytest.raises(FileNotFoundError, match="pass --data with sbibm's"):
    sbibm_references.read(tmp_path / "a.zip", "two_moons", 1)


def _reference(name, number):
  return sbibm_references.read(pathlib.Path(os.environ["SBIBM"]), name, number)


@needs_archive
def test_design_matrix_equals_the_archives():
  theirs = sbibm_references.read_design_matrix(
    pathlib.Path(os.environ["SBIBM"])
  )
  np.testing.assert_allclose(sbibm_tasks.design_matrix(), theirs, atol=1e-6)


def _glm_score(theta, x):
  design = sbibm_tasks.design_matrix()
  likelihood = x - expit(theta @ design.T) @ design
  return likelihood - theta @ sbibm_tasks.glm_precision()


def _numerical_score(log_joint, theta):
  """Returns the gradient of a log joint density by ln(theta), [n, dim]."""
  step = 1e-4
  columns = []
  for k in range(theta.shape[1]):
    move = np.exp(step * np.eye(theta.shape[1])[k])
    rise = log_joint(theta * move) - log_joint(theta / move)
    columns.append(rise / (2 * step))
  return np.stack(columns, axis=1)


def _sir_log_joint(x):
  def log_joint(theta):
    share = sbibm_dynamics.infected(theta).clip(1e-12, 1)
    prior = scipy.stats.norm(np.log([0.4, 0.125]), [0.5, 0.2])
    log_likelihood = scipy.stats.binom(1000, share).logpmf(x).sum(axis=1)
    return log_likelihood + prior.logpdf(np.log(theta)).sum(axis=1)

  return log_joint


def _hunt_log_joint(x):
  def log_joint(theta):
    numbers = sbibm_dynamics.prey_and_predators(theta)
    prior = scipy.stats.norm([-0.125, -3, -0.125, -3], 0.5)
    noise = scipy.stats.norm(np.log(numbers), 0.1)
    log_likelihood = noise.logpdf(np.log(x)).sum(axis=1)
    return log_likelihood + prior.logpdf(np.log(theta)).sum(axis=1)

  return log_joint


@needs_archive
@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("name", ["bernoulli_glm", "sir", "lotka_volterra"])
def test_reference_posteriors_match_our_tasks(name, number):
  # For draws from the density p, d ln p has mean 0, and its product with the
  # parameters has mean -1. So prior and likelihood must be those of the
  # archive.
  reference = _reference(name, number)
  theta = reference.samples[:400]
  if name == "bernoulli_glm":
    score = _glm_score(theta, reference.x)
  else:
    density = _sir_log_joint if name == "sir" else _hunt_log_joint
    score = _numerical_score(density(reference.x), theta)
    theta = np.log(theta)
  _assert_zero_mean(score)
  off = theta - theta.mean(axis=0)
  products = score[:, :, None] * off[:, None] + np.eye(theta.shape[1])
  _assert_zero_mean(products.reshape(len(theta), -1))


@needs_archive
@pytest.mark.parametrize("number", [1, 6])
def test_reference_posteriors_of_gaussian_tasks(number):
  linear = _reference("gaussian_linear", number)
  np.testing.assert_allclose(linear.samples.mean(0), linear.x / 2, atol=0.012)
  np.testing.assert_allclose(linear.samples.var(0), 0.05, rtol=0.07)
  uniform = _reference("gaussian_linear_uniform", number)
  scale = np.sqrt(0.1)
  exact = scipy.stats.truncnorm(
    (-1 - uniform.x) / scale, (1 - uniform.x) / scale, uniform.x, scale
  )
  np.testing.assert_allclose(uniform.samples.mean(0), exact.mean(), atol=0.015)
  np.testing.assert_allclose(uniform.samples.std(0), exact.std(), atol=0.01)


@needs_archive
@pytest.mark.parametrize("name", ["gaussian_mixture", "two_moons", "slcp"])
def test_reference_posteriors_of_exact_tasks(name):
  reference = _reference(name, 2)
  random = np.random.default_rng(0)
  problem = sbibm_tasks.PROBLEMS[name]
  exact = problem.reference(random, reference.x, 10_000)
  scale = exact.std(axis=0)
  error = (exact.mean(axis=0) - reference.samples.mean(axis=0)) / scale
  np.testing.assert_allclose(error, 0, atol=0.07)
  np.testing.assert_allclose(
    reference.samples.std(axis=0) / scale, 1, atol=0.05
  )
