"""`Flow` as users call it, and likelihoods against closed forms."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import likelihood, make_flow
from cinn_jax.models.subnets import Subnet

SUBNET = functools.partial(
  Subnet, widths=(8,), kernels=(3, 3), zero_last=False, init_std=0.1
)


@pytest.fixture(scope="module")
def made():
  def stack():
    return bj.Stack(bj.Chain((bj.AffineCoupling(SUBNET), bj.Orthogonal())), 2)

  module = bj.MultiScale(
    stages=(bj.Chain((bj.Haar(), stack())), stack()),
    splits=(bj.Split(4),),
  )
  flow = make_flow(module, (8, 8, 2))
  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(size=(3, 8, 8, 2)), jnp.float32)
  cond = jnp.asarray(random.normal(size=(3, 5)), jnp.float32)
  key = jax.random.key(0, impl="rbg")
  return flow, jax.jit(flow.init)(key, x, cond), x, cond


def test_samples_and_their_log_prob(made):
  flow, variables, _, cond = made
  sample = jax.jit(flow.sample, static_argnames="num_samples")
  x, log_prob = sample(variables, jax.random.key(1), cond, num_samples=4)
  assert x.shape == (3, 4, 8, 8, 2) and log_prob.shape == (3, 4)
  for k in range(4):
    parts = flow.log_prob(variables, x[:, k], cond)
    np.testing.assert_allclose(parts.total, log_prob[:, k], rtol=1e-4)


def test_temperature_per_level(made):
  flow, variables, _, cond = made
  key = jax.random.key(1)
  cold, _ = flow.sample(variables, key, cond, 2, temperature=0.0)
  np.testing.assert_array_equal(cold[:, 0], cold[:, 1])
  fine, _ = flow.sample(variables, key, cond, 2, temperature=(1.0, 0.0))
  z, _ = flow.forward(variables, fine[:, 1], cond)
  assert np.abs(z[0]).max() > 0.5
  np.testing.assert_allclose(z[1], 0, atol=1e-4)


def test_condition_changes_the_density(made):
  flow, variables, x, cond = made
  one = flow.log_prob(variables, x, cond).total
  other = flow.log_prob(variables, x, cond + 1.0).total
  assert np.abs(one - other).min() > 1e-3


def test_wrong_shape_says_what_to_pass(made):
  flow, variables, x, cond = made
  with pytest.raises(ValueError, match=r"\[B, 8, 8, 2\], got"):
    flow.forward(variables, x[:, :4], cond)


def test_standard_normal_and_bits_per_dim():
  z = (jnp.ones((2, 3)), jnp.zeros((2, 2, 2, 1)))
  nats = likelihood.standard_normal(z)
  expected = -1.5 - 7 * 0.5 * math.log(2 * math.pi)
  np.testing.assert_allclose(nats, [expected] * 2, rtol=1e-6)
  bits = likelihood.bits_by_part(nats, jnp.array([7.0, 14.0]), 7)
  np.testing.assert_allclose(
    bits["bits_log_det"], [-1 / math.log(2), -2 / math.log(2)], rtol=1e-6
  )
  np.testing.assert_allclose(
    bits["bits_per_dim"], bits["bits_prior"] + bits["bits_log_det"], rtol=1e-6
  )


def test_rescaled_bits_are_those_of_the_rescaled_density():
  # x ~ N(0, 1) per channel; v = scale * x.
  scales, x = (2.0, 8.0), np.array([0.3, -1.2])
  log_x = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
  log_v = log_x - np.log(scales)
  bits = [likelihood.bits_per_dim(log.sum(), 2) for log in (log_x, log_v)]
  rescaled = likelihood.rescale_bits_per_dim(bits[0], scales)
  np.testing.assert_allclose(rescaled, bits[1])
