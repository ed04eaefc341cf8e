"""Samples from float64 parameters are float64."""

import functools

import jax
import numpy as np

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables, normal

SUBNET = functools.partial(Subnet, widths=(8,), kernels=(1, 1))


def test_samples_have_the_precision_of_the_parameters():
  block = bj.Chain((bj.Permutation(), bj.AffineCoupling(SUBNET)))
  flow = make_flow(bj.Stack(block, 2), (4,))
  x, cond = normal(0, (3, 4)), normal(1, (3, 2))
  variables = draw_variables(flow.module, 2, x, cond)
  samples, log_prob = flow.sample(
    variables, jax.random.key(0), cond, num_samples=5
  )
  assert samples.dtype == log_prob.dtype == np.float64
  again = flow.log_prob(variables, samples[:, 0], cond).total
  np.testing.assert_allclose(again, log_prob[:, 0], rtol=1e-12)


def test_a_temperature_keeps_the_precision():
  flow = make_flow(bj.ActNorm(), (2,))
  x = np.ones((3, 2), np.float32)
  variables = flow.init(jax.random.key(0), x)
  variables = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)
  for temperature in (1.0, np.float64(0.5), [0.7]):
    sample, log_prob = flow.sample(
      variables, jax.random.key(1), None, temperature=temperature
    )
    assert sample.dtype == log_prob.dtype == np.float32
