"""Priors and simulators of sbibm's eight tasks without distractors.

Lueckmann et al. 2021, appendix T, and the benchmark's published settings. Four
are those of posterior_problems.py; `gaussian_linear` is its `linear_gaussian`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from posterior_problems import PROBLEMS
from sbibm_dynamics import infected, prey_and_predators
from scipy.special import expit

import cinn_jax
from cinn_jax import bijections as bj

Draws = tuple[np.ndarray, np.ndarray]


class Task(NamedTuple):
  """A prior and a simulator.

  Attributes:
    dim, data_dim: Lengths of theta and x.
    simulate: `(random, n) -> (theta [n, dim], x [n, data_dim])` with a numpy
      generator, in float32.
    low, high: Bounds of the prior for all parameters, or None.
    is_mapped: True if the flow maps the bounds to infinity, as published runs
      do for all tasks but two_moons. If False, samples outside the bounds are
      drawn again.
  """

  dim: int
  data_dim: int
  simulate: Callable[[np.random.Generator, int], Draws]
  low: float | None = None
  high: float | None = None
  is_mapped: bool = True


def _by_problem(
  name: str, bound: float | None = None, *, is_mapped: bool = True
) -> Task:
  problem = PROBLEMS[name]
  simulate = jax.jit(problem.simulate, static_argnums=1)

  def draw(random, n):
    key = jax.random.key(random.integers(2**31))
    return tuple(np.asarray(values) for values in simulate(key, n))

  low = None if bound is None else -bound
  return Task(
    dim=problem.dim,
    data_dim=problem.data_dim,
    simulate=draw,
    low=low,
    high=bound,
    is_mapped=is_mapped,
  )


def _simulate_linear_uniform(random, n):
  # theta ~ U(-1, 1)^10, x ~ N(theta, 0.1 I).
  theta = random.uniform(-1, 1, (n, 10))
  x = theta + np.sqrt(0.1) * random.normal(size=theta.shape)
  return _floats(theta, x)


# The input of the neuron is frozen: 100 bins of white noise.
_STIMULUS_SEED, _BINS, _FILTER = 42, 100, 9


def design_matrix() -> np.ndarray:
  """Returns the regressors of `bernoulli_glm`, [100, 10].

  The first is 1, the others are the stimulus now and 1 to 8 bins ago.
  """
  stimulus = np.random.RandomState(_STIMULUS_SEED).randn(_BINS)
  lags = [
    np.concatenate([np.zeros(k), stimulus[: _BINS - k]]) for k in range(_FILTER)
  ]
  return np.stack([np.ones(_BINS), *lags], axis=1)


def glm_precision() -> np.ndarray:
  """Returns the precision matrix [10, 10] of `bernoulli_glm`'s prior.

  The offset has variance 2. The filter is smooth: second differences of its
  entries are penalised.
  """
  difference = np.eye(_FILTER) - np.eye(_FILTER, k=-1)
  root = difference @ difference + np.diag(
    np.sqrt(np.arange(_FILTER) / _FILTER)
  )
  precision = np.zeros((_FILTER + 1, _FILTER + 1))
  precision[0, 0] = 0.5
  precision[1:, 1:] = root.T @ root
  return precision


def _simulate_glm(random, n):
  covariance = np.linalg.inv(glm_precision())
  theta = random.multivariate_normal(
    np.zeros(len(covariance)), covariance, n, method="cholesky"
  )
  design = design_matrix()
  spikes = random.uniform(size=(n, _BINS)) < expit(theta @ design.T)
  # Sufficient statistics: the number of spikes, and the stimulus before them.
  return _floats(theta, spikes @ design)


_TRIALS = 1000


def _simulate_sir(random, n):
  theta = np.exp(
    np.log([0.4, 0.125]) + np.array([0.5, 0.2]) * random.normal(size=(n, 2))
  )
  return _floats(theta, random.binomial(_TRIALS, infected(theta).clip(0, 1)))


def _simulate_lotka_volterra(random, n):
  theta = np.exp(
    np.array([-0.125, -3, -0.125, -3]) + 0.5 * random.normal(size=(n, 4))
  )
  numbers = prey_and_predators(theta).clip(1e-10, 1e4)
  return _floats(theta, numbers * np.exp(0.1 * random.normal(size=(n, 20))))


def _floats(theta, x):
  return theta.astype(np.float32), x.astype(np.float32)


TASKS = {
  "two_moons": _by_problem("two_moons", 1.0, is_mapped=False),
  "slcp": _by_problem("slcp", 3.0),
  "gaussian_mixture": _by_problem("gaussian_mixture", 10.0),
  "gaussian_linear": _by_problem("linear_gaussian"),
  "gaussian_linear_uniform": Task(10, 10, _simulate_linear_uniform, -1.0, 1.0),
  "bernoulli_glm": Task(10, 10, _simulate_glm),
  "sir": Task(2, 10, _simulate_sir, low=0.0),
  "lotka_volterra": Task(4, 20, _simulate_lotka_volterra, low=0.0),
}


def flow_for(
  task: Task, *, is_mapped: bool | None = None, **options
) -> cinn_jax.Flow:
  """Builds the flow of a task's posteriors.

  Args:
    task: The task.
    is_mapped: Replaces the task's setting, unless it is None.
    **options: Arguments of `vector_flow`.
  """
  module = cinn_jax.vector_flow(task.dim, **options)
  if is_mapped is None:
    is_mapped = task.is_mapped
  if is_mapped and task.low is not None:
    module = bj.Chain((bj.Bounded(task.low, task.high), module))
  return cinn_jax.make_flow(module, (task.dim,))
