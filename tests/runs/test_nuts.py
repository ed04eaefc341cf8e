"""NUTS of blackjax runs on a flow's density, which is a plain JAX function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cinn_jax
from cinn_jax.models.vector_flow import vector_flow
from tests.support.drawing import draw_variables

blackjax = pytest.importorskip("blackjax")

DRAWS, WARMUP = 2000, 500


@pytest.fixture(scope="module")
def likelihood():
  """Returns a random flow of x given theta, not Gaussian in x."""
  # Random splines have several modes, between which NUTS does not move.
  module = vector_flow(
    2, blocks=2, hidden=(8,), coupling="affine", linear_start=False
  )
  flow = cinn_jax.make_flow(module, (2,))
  random = np.random.default_rng(0)
  x, theta = random.normal(size=(2, 4, 2)).astype(np.float32)
  return flow, draw_variables(module, 11, x, theta, scale=0.6)


def _nuts(log_density, start, rng):
  """Returns draws [DRAWS, ...] after adaptation."""
  key_warmup, key_run = jax.random.split(rng)
  warmup = blackjax.window_adaptation(blackjax.nuts, log_density)

  @jax.jit
  def run(start):
    (state, parameters), _ = warmup.run(key_warmup, start, num_steps=WARMUP)
    step = blackjax.nuts(log_density, **parameters).step

    def one(state, key):
      state, _ = step(key, state)
      return state, state.position

    return jax.lax.scan(one, state, jax.random.split(key_run, DRAWS))[1]

  return np.asarray(run(start))


def _on_a_grid(log_density, half_width=5.0, count=201):
  """Returns (mean, covariance) of a density in the plane."""
  side = np.linspace(-half_width, half_width, count, dtype=np.float32)
  theta = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
  log_p = np.asarray(jax.jit(jax.vmap(log_density))(theta), np.float64)
  weights = np.exp(log_p - log_p.max())
  return weights @ theta / weights.sum(), np.cov(theta.T, aweights=weights)


@pytest.mark.slow
def test_nuts_finds_the_posterior(likelihood):
  flow, variables = likelihood
  x = jnp.array([[0.7, -0.4], [0.2, 0.5], [1.0, -1.0]])

  def log_density(theta):
    # theta ~ N(0, I); three measurements.
    cond = jnp.broadcast_to(theta[None], (3, 2))
    log_p = jnp.sum(flow.log_prob(variables, x, cond).total)
    return log_p - 0.5 * jnp.sum(theta**2)

  mean, covariance = _on_a_grid(log_density)
  # It differs from the prior, so the likelihood matters.
  assert np.abs(covariance - np.eye(2)).max() > 0.2
  draws = _nuts(log_density, jnp.zeros(2), jax.random.key(0))
  np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.12)
  np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.15)


@pytest.mark.slow
def test_nuts_finds_the_flows_own_samples(likelihood):
  flow, variables = likelihood
  theta = jnp.array([[0.5, -0.5]])

  def log_density(x):
    return flow.log_prob(variables, x[None], theta).total[0]

  draws = _nuts(log_density, jnp.zeros(2), jax.random.key(1))
  draw = jax.jit(flow.sample, static_argnames="num_samples")
  own = np.asarray(
    draw(variables, jax.random.key(2), theta, num_samples=20_000)[0][0]
  )
  scale = own.std(axis=0)
  off = (draws.mean(axis=0) - own.mean(axis=0)) / scale
  np.testing.assert_allclose(off, 0, atol=0.15)
  spread = draws.std(axis=0) / scale
  np.testing.assert_allclose(spread, 1, atol=0.15)
