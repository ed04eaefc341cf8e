"""The linear start: regression on the condition, by ridge, and whitening."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cinn_jax import bijections as bj
from cinn_jax import make_flow

WEIGHTS = np.array([[1.0, -0.5], [0.3, 2.0], [0.0, 0.7]])
FACTOR = np.array([[0.6, 0.0], [0.5, 0.4]])


def _linear(rows, seed=0, irrelevant=0):
  """Draws x = c W + 5 + correlated noise, and c, with irrelevant columns."""
  random = np.random.default_rng(seed)
  cond = random.normal(size=(rows, 3 + irrelevant)) + 2
  noise = random.normal(size=(rows, 2)) @ FACTOR.T
  x = cond[:, :3] @ WEIGHTS + 5 + noise
  return x.astype(np.float32), cond.astype(np.float32)


def _exact(x, cond):
  """Returns the true ln p(x | c)."""
  noise = x - cond[:, :3] @ WEIGHTS - 5
  normal = scipy.stats.multivariate_normal(cov=FACTOR @ FACTOR.T)
  return normal.logpdf(noise)


FLOW = make_flow(bj.ConditionalWhitening(), (2,))


def test_first_batch_becomes_white():
  x, cond = _linear(2000)
  variables = FLOW.init(jax.random.key(0), x, cond)
  z, log_det = FLOW.forward(variables, x, cond)
  np.testing.assert_allclose(np.mean(z, axis=0), 0, atol=1e-4)
  np.testing.assert_allclose(np.cov(np.asarray(z).T), np.eye(2), atol=0.02)
  cross = np.asarray(z).T @ (cond - cond.mean(axis=0)) / len(x)
  np.testing.assert_allclose(cross, 0, atol=1e-3)
  np.testing.assert_allclose(log_det, log_det[0])
  fresh = _linear(2000, seed=1)
  log_prob = FLOW.log_prob(variables, *fresh).total
  np.testing.assert_allclose(log_prob.mean(), _exact(*fresh).mean(), atol=0.01)


def test_ridge_ignores_irrelevant_columns_of_few_rows():
  # Least squares has 43 weights a column for 60 rows.
  x, cond = _linear(60, irrelevant=40)
  variables = FLOW.init(jax.random.key(0), x, cond)
  fresh = _linear(5000, seed=1, irrelevant=40)
  exact = _exact(*fresh).mean()
  log_prob = FLOW.log_prob(variables, *fresh).total.mean()
  design = np.column_stack([np.ones(60), cond])
  solution = np.linalg.lstsq(design, x, rcond=None)[0]
  residual = fresh[0] - np.column_stack([np.ones(5000), fresh[1]]) @ solution
  own = np.cov((x - design @ solution).T) * 59 / (59 - 43)
  least_squares = scipy.stats.multivariate_normal(cov=own).logpdf(residual)
  assert least_squares.mean() < exact - 1
  assert log_prob > least_squares.mean() + 0.3
  # More columns than rows have a solution too.
  x, cond = _linear(20, irrelevant=40)
  variables = FLOW.init(jax.random.key(0), x, cond)
  assert FLOW.log_prob(variables, *fresh).total.mean() > exact - 10


@pytest.mark.parametrize("cond", [None, np.zeros((50, 3), np.float32)])
def test_without_information_only_x_counts(cond):
  x, _ = _linear(50)
  variables = FLOW.init(jax.random.key(0), x, cond)
  z, _ = FLOW.forward(variables, x, cond)
  np.testing.assert_allclose(np.std(z, axis=0), 1, atol=0.05)
  np.testing.assert_allclose(np.mean(z, axis=0), 0, atol=1e-4)


def test_condition_of_a_network_is_left_to_it():
  x, cond = _linear(50)
  flow = make_flow(bj.ConditionalWhitening(regress=False), (2,))
  variables = flow.init(jax.random.key(0), x, cond)
  assert set(variables["params"]) == {"bias", "log_scale", "mixing"}
  z, _ = flow.forward(variables, x, cond)
  np.testing.assert_array_equal(z, flow.forward(variables, x, cond[::-1])[0])


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_batch_that_does_not_vary_starts_finite(value):
  x = jnp.full((4, 2), value)
  variables = FLOW.init(jax.random.key(0), x, jnp.zeros((4, 3)))
  z, log_det = FLOW.forward(variables, x, jnp.zeros((4, 3)))
  np.testing.assert_array_equal(z, 0)
  np.testing.assert_array_equal(log_det, 0)


def test_rows_that_the_condition_explains_start_finite():
  cond = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
  x = np.concatenate([cond, -cond], axis=1)
  variables = FLOW.init(jax.random.key(0), x, cond)
  z, log_det = FLOW.forward(variables, x, cond)
  assert np.isfinite(z).all() and np.abs(log_det).max() < 20


def test_several_vectors_are_one_condition():
  x, cond = _linear(200)
  variables = FLOW.init(jax.random.key(0), x, cond)
  parts = {"a": cond[:, :1], "b": cond[:, 1:]}
  apart = FLOW.init(jax.random.key(0), x, parts)
  np.testing.assert_allclose(
    FLOW.log_prob(apart, x, parts).total,
    FLOW.log_prob(variables, x, cond).total,
    atol=1e-4,
  )


def test_wrong_data_and_conditions_raise():
  x, cond = _linear(10)
  variables = FLOW.init(jax.random.key(0), x, cond)
  for wrong, message in (
    (None, "initialised with a condition of 3 channels, and is given no cond"),
    (cond[:, :2], "a condition of 3 channels, and is given a condition of 2"),
  ):
    with pytest.raises(ValueError, match=message):
      FLOW.forward(variables, x, wrong)
  pictures = make_flow(bj.ConditionalWhitening(), (4, 4, 2))
  with pytest.raises(ValueError, match=r"takes vectors \[B, C\], got shape"):
    pictures.init(jax.random.key(0), jnp.zeros((2, 4, 4, 2)))
