"""Inverse problems with known posteriors of theta given x.

Four problems of the benchmark of Lueckmann et al. 2021 (appendix T). Reference
samples are exact draws, without a Markov chain:

  linear_gaussian    10 parameters; closed form
  gaussian_mixture   two widths around one mean; closed form, cut by the prior
  two_moons          Greenberg et al. 2019: two crescents; drawn backwards
  slcp               Papamakarios et al. 2019: four modes; rejection sampling
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Problem(NamedTuple):
  """A prior, a simulator, and the posterior of one observation.

  Attributes:
    dim, data_dim: Lengths of theta and x.
    simulate: `(rng, n) -> (theta [n, dim], x [n, data_dim])`, in JAX.
    log_joint: `(theta [n, dim], x [data_dim]) -> [n]`, ln p(theta) p(x | theta)
      up to a constant, in numpy.
    reference: `(random, x [data_dim], n) -> [n, dim]`, exact draws of the
      posterior with a numpy generator.
    observation: The x [data_dim] at which posteriors are compared.
  """

  dim: int
  data_dim: int
  simulate: Callable
  log_joint: Callable
  reference: Callable
  observation: np.ndarray


def _inside(theta, bound):
  return np.where(np.all(np.abs(theta) <= bound, axis=-1), 0.0, -np.inf)


def _until(count, draw):
  """Calls `draw() -> [k, dim]` until there are `count` accepted draws."""
  kept, total = [], 0
  while total < count:
    kept.append(draw())
    total += len(kept[-1])
  return np.concatenate(kept)[:count]


# theta ~ N(0, 0.1 I), x ~ N(theta, 0.1 I); so the posterior is
# N(x / 2, 0.05 I).
_VARIANCE = 0.1


def _simulate_linear(rng, n, dim=10):
  noise = jnp.sqrt(_VARIANCE) * jax.random.normal(rng, (2, n, dim))
  return noise[0], noise[0] + noise[1]


def _log_joint_linear(theta, x):
  squares = np.sum(theta**2 + (x - theta) ** 2, axis=-1)
  return -0.5 * squares / _VARIANCE


def _reference_linear(random, x, n):
  return x / 2 + np.sqrt(_VARIANCE / 2) * random.normal(size=(n, len(x)))


# theta ~ U(-10, 10)^2, x ~ N(theta, I) or N(theta, 0.01 I), equally likely.
_WIDTHS = np.array([1.0, 0.1])
_MIXTURE_BOUND = 10.0


def _simulate_mixture(rng, n):
  keys = jax.random.split(rng, 3)
  theta = jax.random.uniform(
    keys[0], (n, 2), minval=-_MIXTURE_BOUND, maxval=_MIXTURE_BOUND
  )
  width = jax.random.choice(keys[1], jnp.asarray(_WIDTHS), (n, 1))
  return theta, theta + width * jax.random.normal(keys[2], (n, 2))


def _log_joint_mixture(theta, x):
  squares = np.sum((x - theta) ** 2, axis=-1)[..., None]
  parts = -0.5 * squares / _WIDTHS**2 - 2 * np.log(_WIDTHS)
  return np.logaddexp(*np.moveaxis(parts, -1, 0)) + _inside(
    theta, _MIXTURE_BOUND
  )


def _reference_mixture(random, x, n):
  def draw():
    width = random.choice(_WIDTHS, size=(n, 1))
    theta = x + width * random.normal(size=(n, 2))
    return theta[np.isfinite(_inside(theta, _MIXTURE_BOUND))]

  return _until(n, draw)


# theta ~ U(-1, 1)^2. A point p on a crescent, (r cos a + 0.25, r sin a) with
# a ~ U(-pi/2, pi/2) and r ~ N(0.1, 0.01^2), is shifted by
# (-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2).
_RADIUS, _RADIUS_STD, _SHIFT = 0.1, 0.01, 0.25


def _crescent(angle, radius, xp):
  return xp.stack(
    [radius * xp.cos(angle) + _SHIFT, radius * xp.sin(angle)], axis=-1
  )


def _shift(theta, xp):
  first, second = theta[..., 0], theta[..., 1]
  shift = xp.stack([-xp.abs(first + second), second - first], axis=-1)
  return shift / np.sqrt(2)


def _simulate_moons(rng, n):
  keys = jax.random.split(rng, 3)
  theta = jax.random.uniform(keys[0], (n, 2), minval=-1.0, maxval=1.0)
  angle = jax.random.uniform(
    keys[1], (n,), minval=-jnp.pi / 2, maxval=jnp.pi / 2
  )
  radius = _RADIUS + _RADIUS_STD * jax.random.normal(keys[2], (n,))
  return theta, _crescent(angle, radius, jnp) + _shift(theta, jnp)


def _log_joint_moons(theta, x):
  point = x - _shift(theta, np) - np.array([_SHIFT, 0.0])
  radius = np.linalg.norm(point, axis=-1)
  # The density in the plane is the one in (r, a), divided by r. Negative radii
  # are ten standard deviations away and ignored.
  log_density = -0.5 * ((radius - _RADIUS) / _RADIUS_STD) ** 2 - np.log(radius)
  on_side = np.where(point[..., 0] > 0, 0.0, -np.inf)
  return log_density + on_side + _inside(theta, 1.0)


def _reference_moons(random, x, n):
  # Given x, p determines theta up to the sign of its sum, by a map with a
  # constant Jacobian. So each draw of p gives a draw of theta.
  def draw():
    angle = random.uniform(-np.pi / 2, np.pi / 2, size=n)
    radius = _RADIUS + _RADIUS_STD * random.normal(size=n)
    move = np.sqrt(2) * (x - _crescent(angle, radius, np))
    total = -move[:, 0] * random.choice([-1.0, 1.0], size=n)
    theta = np.stack([total - move[:, 1], total + move[:, 1]], axis=-1) / 2
    possible = move[:, 0] <= 0
    return theta[possible & np.isfinite(_inside(theta, 1.0))]

  return _until(n, draw)


# theta ~ U(-3, 3)^5. x is four points of N(m, S) in the plane: m = (theta_1,
# theta_2), standard deviations theta_3^2 and theta_4^2, correlation
# tanh(theta_5).
_SLCP_BOUND, _POINTS = 3.0, 4


def _simulate_slcp(rng, n):
  key_theta, key_x = jax.random.split(rng)
  theta = jax.random.uniform(
    key_theta, (n, 5), minval=-_SLCP_BOUND, maxval=_SLCP_BOUND
  )
  std, correlation = theta[:, None, 2:4] ** 2, jnp.tanh(theta[:, None, 4])
  noise = jax.random.normal(key_x, (n, _POINTS, 2))
  second = (
    correlation * noise[..., 0] + jnp.sqrt(1 - correlation**2) * noise[..., 1]
  )
  points = std * jnp.stack([noise[..., 0], second], axis=-1)
  return theta, (points + theta[:, None, :2]).reshape(n, -1)


def _slcp_covariance(theta):
  """Returns S [n, 2, 2] of parameters [n, >= 3], from the last three."""
  one, two = theta[..., -3] ** 2, theta[..., -2] ** 2
  cross = np.tanh(theta[..., -1]) * one * two
  return np.stack(
    [np.stack([one**2, cross], -1), np.stack([cross, two**2], -1)], -2
  )


def _log_joint_slcp(theta, x):
  covariance = _slcp_covariance(theta)
  off = x.reshape(_POINTS, 2) - theta[..., None, :2]
  solved = np.linalg.solve(covariance[..., None, :, :], off[..., None])[..., 0]
  log_likelihood = -0.5 * np.sum(off * solved, axis=(-1, -2))
  log_likelihood -= 0.5 * _POINTS * np.linalg.slogdet(covariance)[1]
  return log_likelihood + _inside(theta, _SLCP_BOUND)


def _reference_slcp(random, x, n):
  """Draws S without m by rejection, then m given S, and cuts by the prior.

  With m integrated out over the plane, the likelihood of S is
  |S|^(-3/2) exp(-tr(S^-1 A) / 2), where A is the scatter matrix of the four
  points around their mean. It is largest at S = A / 3.
  """
  points = x.reshape(_POINTS, 2)
  mean, freedom = points.mean(axis=0), _POINTS - 1
  scatter = (points - mean).T @ (points - mean)
  highest = -0.5 * freedom * np.linalg.slogdet(scatter / freedom)[1] - freedom

  def draw():
    proposed = random.uniform(-_SLCP_BOUND, _SLCP_BOUND, size=(100_000, 3))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
      covariance = _slcp_covariance(proposed)
      inverse = _inverse(covariance)
      log_g = -0.5 * np.sum(inverse * scatter, axis=(-1, -2))
      log_g -= 0.5 * freedom * np.log(_determinant(covariance))
    kept = np.log(random.uniform(size=len(proposed))) < log_g - highest
    covariance = covariance[kept] / _POINTS
    factor = np.linalg.cholesky(covariance)
    noise = random.normal(size=(len(covariance), 2))
    m = mean + np.einsum("nij,nj->ni", factor, noise)
    theta = np.concatenate([m, proposed[kept]], axis=-1)
    return theta[np.isfinite(_inside(theta, _SLCP_BOUND))]

  return _until(n, draw)


def _determinant(matrix):
  return (
    matrix[..., 0, 0] * matrix[..., 1, 1]
    - matrix[..., 0, 1] * matrix[..., 1, 0]
  )


def _inverse(matrix):
  """Inverts matrices [n, 2, 2] without a loop over n."""
  a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
  adjoint = np.stack([np.stack([d, -b], -1), np.stack([-b, a], -1)], -2)
  return adjoint / _determinant(matrix)[..., None, None]


PROBLEMS = {
  "linear_gaussian": Problem(
    dim=10,
    data_dim=10,
    simulate=_simulate_linear,
    log_joint=_log_joint_linear,
    reference=_reference_linear,
    observation=np.linspace(-0.5, 0.5, 10),
  ),
  "gaussian_mixture": Problem(
    dim=2,
    data_dim=2,
    simulate=_simulate_mixture,
    log_joint=_log_joint_mixture,
    reference=_reference_mixture,
    observation=np.array([-3.0, 5.0]),
  ),
  "two_moons": Problem(
    dim=2,
    data_dim=2,
    simulate=_simulate_moons,
    log_joint=_log_joint_moons,
    reference=_reference_moons,
    observation=np.array([0.0, 0.0]),
  ),
  "slcp": Problem(
    dim=5,
    data_dim=8,
    simulate=_simulate_slcp,
    log_joint=_log_joint_slcp,
    reference=_reference_slcp,
    # Four points, drawn once from theta = (0.7, -2.9, -1, -0.9, 0.6).
    observation=np.array([0.83, -2.94, 1.34, -2.55, 0.16, -2.89, 2.0, -1.69]),
  ),
}
