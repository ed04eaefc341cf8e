"""Flows of a single number: exact, and right about known densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import cinn_jax
from cinn_jax.models.networks.summary_nets import SetNet
from cinn_jax.models.vector_flow import vector_flow
from tests.support import slow
from tests.support.drawing import draw_variables, normal

FLOW = cinn_jax.make_flow(vector_flow(1, blocks=2, hidden=(32,)), (1,))
OPTIONS = {"num_epochs": 40, "learning_rate": 5e-3, "progress": False}


def _key(seed):
  return jax.random.key(seed)


@pytest.mark.parametrize(
  "kind", slow.all_but(["set"], ["none", "vector", "set"])
)
def test_round_trip_and_log_det(kind):
  net = SetNet() if kind == "set" else None
  shapes = {"none": None, "vector": (9, 3), "set": (9, 4, 2)}
  cond = None if kind == "none" else normal(1, shapes[kind], np.float32)
  module = vector_flow(1, blocks=2, hidden=(8,), condition_net=net)
  flow = cinn_jax.make_flow(module, (1,))
  x = 2 * normal(0, (9, 1), np.float32)
  variables = draw_variables(module, 2, x, cond)
  z, log_det = flow.forward(variables, x, cond)
  back, minus_log_det = flow.inverse(variables, z, cond)
  np.testing.assert_allclose(back, x, atol=5e-4)
  np.testing.assert_allclose(minus_log_det, -log_det, atol=5e-4)
  slope = jax.vmap(
    jax.grad(lambda x, c: flow.forward(variables, x[None], c)[0][0, 0]),
    in_axes=(0, None if cond is None else 0),
  )(x, None if cond is None else cond[:, None])
  np.testing.assert_allclose(log_det, jnp.log(slope[:, 0]), atol=1e-4)
  assert np.abs(log_det).min() > 1e-3


@pytest.mark.slow
def test_two_modes():
  random = np.random.default_rng(0)
  left, right = scipy.stats.norm(900, 15), scipy.stats.norm(1050, 30)

  def draw(count):
    both = [d.rvs(count, random_state=random) for d in (left, right)]
    return np.where(random.uniform(size=count) < 0.3, *both)[:, None]

  variables, _ = cinn_jax.fit(FLOW, _key(0), draw(5000), **OPTIONS)
  x = draw(4000)
  exact = np.log(0.3 * left.pdf(x) + 0.7 * right.pdf(x)).mean()
  mean = np.mean(FLOW.log_prob(variables, x).total)
  assert abs(mean - exact) < 0.05
  samples, _ = FLOW.sample(variables, _key(1), None, num_samples=4000)
  samples = np.ravel(samples[0])
  assert scipy.stats.ks_2samp(samples, x[:, 0]).statistic < 0.05


@pytest.mark.slow
def test_shape_and_width_depend_on_the_condition():
  random = np.random.default_rng(0)

  def draw(count):
    cond = random.normal(size=(count, 1))
    noise = scipy.stats.gumbel_r.rvs(size=(count, 1), random_state=random)
    return np.sin(cond) + np.exp(0.5 * cond) * noise, cond

  variables, _ = cinn_jax.fit(FLOW, _key(0), *draw(5000), **OPTIONS)
  x, cond = draw(4000)
  noise = (x - np.sin(cond)) / np.exp(0.5 * cond)
  exact = np.mean(scipy.stats.gumbel_r.logpdf(noise) - 0.5 * cond)
  mean = np.mean(FLOW.log_prob(variables, x, cond).total)
  assert abs(mean - exact) < 0.05


def test_condition_of_another_kind_raises():
  x, cond = np.zeros((2, 1), np.float32), np.zeros((2, 3), np.float32)
  variables = FLOW.init(_key(0), x, cond)
  with pytest.raises(ValueError, match="of 3 channels, and is given no cond"):
    FLOW.log_prob(variables, x)
  variables = FLOW.init(_key(0), x)
  with pytest.raises(ValueError, match="with no condition, and is given a"):
    FLOW.log_prob(variables, x, cond)
