"""Solutions of the two systems of differential equations in sbibm's tasks.

Lueckmann et al. 2021, appendix T.9 and T.10.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

POPULATION = 1e6
EPIDEMIC_DAYS = np.arange(0, 161, 17.0)
HUNT_DAYS = 2.1 * np.arange(10)

# Number of simulations in one call of the solver. They share its steps, whose
# error is an average over them; the tolerance leaves room for that.
_TOGETHER = 500
_TOLERANCE = 1e-9


def infected(theta: np.ndarray) -> np.ndarray:
  """Returns the share of people infected at `EPIDEMIC_DAYS`, [n, 10].

  The SIR model of a population of a million, one of them infected at first:
  S' = -beta S I / N, I' = beta S I / N - gamma I.

  Args:
    theta: Contact rate beta and recovery rate gamma [n, 2], per day.
  """

  def slope(state, theta):
    # Logarithms make errors relative: I spans many orders of magnitude.
    log_s, log_i = state
    beta, gamma = theta
    return [-beta * np.exp(log_i), beta * np.exp(log_s) - gamma]

  start = np.log([1 - 1 / POPULATION, 1 / POPULATION])
  return np.exp(_solve(slope, start, theta, EPIDEMIC_DAYS)[1])


def prey_and_predators(theta: np.ndarray) -> np.ndarray:
  """Returns both numbers at `HUNT_DAYS`, [n, 20]: ten of prey, then predators.

  The Lotka-Volterra equations from 30 prey and one predator:
  X' = alpha X - beta X Y, Y' = -gamma Y + delta X Y.

  Args:
    theta: The rates alpha, beta, gamma and delta [n, 4].
  """

  def slope(state, theta):
    log_x, log_y = state
    alpha, beta, gamma, delta = theta
    return [alpha - beta * np.exp(log_y), delta * np.exp(log_x) - gamma]

  solved = np.exp(_solve(slope, np.log([30.0, 1.0]), theta, HUNT_DAYS))
  return np.concatenate(list(solved), axis=1)


def _solve(
  slope: Callable, start: np.ndarray, theta: np.ndarray, days: np.ndarray
) -> np.ndarray:
  """Returns both quantities [2, n, days] for parameters [n, k]."""
  parts = np.array_split(theta, -(-len(theta) // _TOGETHER))
  return np.concatenate(
    [_solve_together(slope, start, part, days) for part in parts], axis=1
  )


def _solve_together(slope, start, theta, days):
  n = len(theta)

  def slopes(_, state):
    return np.concatenate(slope(state.reshape(2, n), theta.T))

  solution = solve_ivp(
    slopes,
    (days[0], days[-1]),
    np.repeat(start, n),
    method="DOP853",
    t_eval=days,
    rtol=_TOLERANCE,
    atol=_TOLERANCE,
  )
  if not solution.success:
    raise ArithmeticError(f"The equations were not solved: {solution.message}")
  return solution.y.reshape(2, n, len(days))
