"""Flows with a Student-t base: densities, samples, pickles and wrong calls."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax import likelihood
from cinn_jax.flow import split_variables
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.training.step import make_update
from cinn_jax.workdir.state import Fit
from tests.support.drawing import draw_variables, normal

FREEDOM = 3.5
BASE = cinn_jax.StudentT(FREEDOM)
SUBNET = functools.partial(Subnet, widths=(8,), kernels=(1, 1))


def _identity(dim):
  """Returns a flow that does nothing, so that its data are its latents."""
  return cinn_jax.make_flow(bj.ActNorm(), (dim,), base=BASE)


def _still(dim):
  return {"params": {"log_scale": jnp.zeros(dim), "bias": jnp.zeros(dim)}}


def test_log_density_is_scipys_over_all_levels():
  z = (normal(0, (4, 2, 2, 3), np.float32), 5 * normal(1, (4, 5), np.float32))
  flat = np.concatenate([leaf.reshape(4, -1) for leaf in z], axis=1)
  exact = scipy.stats.multivariate_t(shape=np.eye(17), df=FREEDOM).logpdf(flat)
  np.testing.assert_allclose(BASE.log_prob(z), exact, rtol=1e-6)
  one = scipy.stats.t(FREEDOM).logpdf(flat[:, 0])
  np.testing.assert_allclose(BASE.log_prob(flat[:, :1]), one, rtol=1e-6)
  assert BASE.log_prob(z[0].astype(jnp.bfloat16)).dtype == jnp.float32


def test_many_degrees_of_freedom_are_normal():
  z = normal(0, (4, 3), np.float32)
  base = cinn_jax.StudentT(1e5)
  np.testing.assert_allclose(
    base.log_prob(z), likelihood.standard_normal(z), atol=1e-3
  )


def test_samples_have_the_quantiles_of_student_t():
  flow = _identity(2)
  x, log_prob = flow.sample(
    _still(2), jax.random.key(0), None, num_samples=40_000
  )
  x = np.asarray(x[0])
  levels = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
  exact = scipy.stats.t(FREEDOM)
  below = (x[:, :, None] < exact.ppf(levels)).mean(axis=0)
  # Four standard errors.
  error = 4 * np.sqrt(levels * (1 - levels) / len(x))
  assert np.all(np.abs(below - levels) < error)
  # Both numbers share their scale: squared, over 2, they follow F.
  radius = (x**2).sum(axis=1) / 2
  below = (radius[:, None] < scipy.stats.f(2, FREEDOM).ppf(levels)).mean(axis=0)
  assert np.all(np.abs(below - levels) < error)
  np.testing.assert_allclose(log_prob[0], BASE.log_prob(x), rtol=1e-5)


@pytest.fixture(scope="module")
def levels():
  """A conditional flow of two levels with random variables."""
  coupling = bj.AffineCoupling(SUBNET)
  module = bj.MultiScale(
    stages=(bj.Chain((bj.Haar(), coupling)), bj.AffineCoupling(SUBNET)),
    splits=(bj.Split(4),),
  )
  x, cond = normal(0, (3, 4, 4, 2), np.float32), normal(1, (3, 5), np.float32)
  variables = draw_variables(module, 0, x, cond, scale=0.1)
  return cinn_jax.make_flow(module, (4, 4, 2), base=BASE), variables, x, cond


def test_levels_of_an_example_share_their_scale(levels):
  flow, variables, _, cond = levels
  x, log_prob = flow.sample(variables, jax.random.key(1), cond, num_samples=500)
  again = flow.log_prob(variables, x[:, 0], cond)
  np.testing.assert_allclose(again.total, log_prob[:, 0], rtol=1e-4)
  z, _ = flow.forward(variables, x[0], jnp.repeat(cond[:1], 500, axis=0))
  sizes = [np.log((leaf**2).mean(axis=(1, 2, 3))) for leaf in z]
  assert np.corrcoef(*sizes)[0, 1] > 0.7
  assert len(np.unique(sizes[0])) == 500


def test_numbered_samples_know_their_density(levels):
  flow, variables, _, cond = levels
  draw = make_draw(flow)
  x, log_prob = draw(variables, cond[:1], jax.random.key(2), jnp.arange(4), 0.8)
  again = flow.log_prob(variables, x, jnp.repeat(cond[:1], 4, axis=0))
  np.testing.assert_allclose(again.total, log_prob, rtol=1e-4)


def test_training_uses_the_base(levels):
  flow, variables, x, cond = levels
  optimizer = optax.sgd(0.0)
  params, constants = split_variables(variables)
  fit = Fit(params, constants, optimizer.init(params))
  _, measured = jax.jit(make_update(flow, optimizer))(fit, x, cond)
  log_prob = flow.log_prob(variables, x, cond)
  np.testing.assert_allclose(measured["parts"].total, log_prob.total, rtol=1e-5)
  np.testing.assert_allclose(
    measured["loss"], -log_prob.total.mean() / 32, rtol=1e-5
  )


def test_pickles_keep_the_base():
  again = pickle.loads(pickle.dumps(_identity(2)))
  assert again.base == BASE


@pytest.mark.parametrize("freedom", [0, -1, float("nan"), float("inf"), "3a"])
def test_wrong_degrees_of_freedom_raise(freedom):
  with pytest.raises(ValueError, match="a finite number above 0, got"):
    cinn_jax.StudentT(freedom)


def test_other_bases_are_refused():
  with pytest.raises(ValueError, match=r"base must be None.* got str"):
    cinn_jax.make_flow(bj.ActNorm(), (2,), base="student_t")
