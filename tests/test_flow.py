"""`Flow` as users call it: shapes, densities, temperatures, transformations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.flow import split_variables
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables

SUBNET = functools.partial(Subnet, widths=(8,), kernels=(3, 3))
MEAN = np.array([1.0, -2.0, 0.5], np.float32)
FACTOR = np.array([[2, 0, 0], [0.5, 1, 0], [-1, 0.3, 0.25]], np.float32)


def _key(seed):
  return jax.random.key(seed, impl="rbg")  # compiles fast


@pytest.fixture(scope="module")
def made():
  """A conditional flow of two levels, its variables, data and conditions."""

  def stack():
    return bj.Stack(bj.Chain((bj.AffineCoupling(SUBNET), bj.Orthogonal())), 2)

  module = bj.MultiScale(
    stages=(bj.Chain((bj.Haar(), stack())), stack()),
    splits=(bj.Split(4),),
  )
  random = np.random.default_rng(0)
  x = random.normal(size=(3, 8, 8, 2)).astype(np.float32)
  cond = random.normal(size=(3, 5)).astype(np.float32)
  variables = draw_variables(module, 0, x, cond, scale=0.1)
  return make_flow(module, (8, 8, 2)), variables, x, cond


@pytest.fixture(scope="module")
def sample(made):
  return jax.jit(made[0].sample, static_argnames="num_samples")


def test_init_makes_what_the_other_functions_take(made):
  flow, variables, x, cond = made
  fresh = jax.eval_shape(flow.init, _key(0), x, cond)
  assert jax.tree.structure(fresh) == jax.tree.structure(variables)
  params, kept = split_variables(fresh)
  assert params == fresh["params"]
  assert kept == {"constants": fresh["constants"]}
  # `fresh` is as it was.
  assert set(fresh) == {"params", "constants"}


def test_round_trip(made):
  flow, variables, x, cond = made
  z, log_det = jax.jit(flow.forward)(variables, x, cond)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, cond)
  np.testing.assert_allclose(back, x, atol=1e-4)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-4)
  shapes = jax.tree.map(
    lambda leaf: leaf.shape, flow.latent_shapes(variables, cond)
  )
  assert shapes == jax.tree.map(jnp.shape, z) == ((3, 4, 4, 4),) * 2


def test_samples_and_their_log_prob(made, sample):
  flow, variables, _, cond = made
  x, log_prob = sample(variables, _key(1), cond, num_samples=4)
  assert x.shape == (3, 4, 8, 8, 2) and log_prob.shape == (3, 4)
  evaluate = jax.jit(flow.log_prob)
  for k in range(4):
    parts = evaluate(variables, x[:, k], cond)
    np.testing.assert_allclose(parts.total, log_prob[:, k], rtol=1e-4)
  # Draws are different, between images too, and repeat with their key.
  assert np.unique(np.round(log_prob, 3)).size == 12
  again, _ = sample(variables, _key(1), cond, num_samples=4)
  np.testing.assert_array_equal(again, x)


def test_temperatures(made, sample):
  flow, variables, _, cond = made
  forward = jax.jit(flow.forward)
  draw = functools.partial(sample, variables, _key(1), cond, num_samples=2)
  cold, _ = draw(temperature=jnp.zeros(2))
  np.testing.assert_array_equal(cold[:, 0], cold[:, 1])
  at_one, _ = forward(variables, draw(temperature=jnp.ones(2))[0][:, 1], cond)
  mixed, _ = draw(temperature=jnp.array([0.5, 0.0]))
  z, _ = forward(variables, mixed[:, 1], cond)
  np.testing.assert_allclose(z[0], 0.5 * at_one[0], atol=1e-4)
  np.testing.assert_allclose(z[1], 0, atol=1e-4)
  # The log-probability is the model's own, whatever the temperature.
  _, log_prob = draw(temperature=jnp.array([0.5, 0.0]))
  total = jax.jit(flow.log_prob)(variables, mixed[:, 1], cond).total
  np.testing.assert_allclose(log_prob[:, 1], total, rtol=1e-4)
  with pytest.raises(ValueError, match=r"one number or 2, .* got shape \[3\]"):
    draw(temperature=jnp.ones(3))


def test_condition_changes_the_density(made):
  flow, variables, x, cond = made
  evaluate = jax.jit(flow.log_prob)
  one = evaluate(variables, x, cond).total
  other = evaluate(variables, x, cond + 1.0).total
  assert np.abs(one - other).min() > 1e-3


def test_wrong_shapes_say_what_to_pass(made):
  flow, variables, x, cond = made
  for method in (flow.forward, flow.log_prob):
    with pytest.raises(ValueError, match=r"\[B, 8, 8, 2\], got \[3, 4, 8, 2\]"):
      method(variables, x[:, :4], cond)
  with pytest.raises(ValueError, match=r"\[B, 8, 8, 2\], got \[8, 8, 2\]"):
    flow.init(_key(0), x[0], cond)


def test_latents_of_another_shape_say_what_to_pass(made):
  flow, variables, x, cond = made
  fine, coarse = flow.forward(variables, x, cond)[0]
  wanted = r"takes latents of shape \(\[B, 4, 4, 4\], \[B, 4, 4, 4\]\), got "
  for z, got in (
    (fine, r"\[B, 4, 4, 4\]\."),
    ((fine, coarse[..., :3]), r"\(\[B, 4, 4, 4\], \[B, 4, 4, 3\]\)"),
    ((fine, coarse[:1]), r"\(\[B, 4, 4, 4\], \[1, 4, 4, 4\]\)"),
  ):
    with pytest.raises(ValueError, match=wanted + got):
      flow.inverse(variables, z, cond)
  # What every layer takes.
  wide = tuple(jnp.concatenate([level] * 2, axis=2) for level in (fine, coarse))
  with pytest.raises(ValueError, match=wanted + r"\(\[B, 4, 8, 4\], \[B, 4, 8"):
    flow.inverse(variables, wide, cond)
  # What has another cause is not explained away.
  with pytest.raises(ValueError, match="condition's batch is 1"):
    flow.inverse(variables, (fine, coarse), cond[:1])


@pytest.mark.parametrize("columns", [3, 6])
def test_a_permutation_is_of_as_many_channels_as_it_was_made_for(columns):
  flow = make_flow(bj.Permutation(), (4,))
  variables = flow.init(_key(0), jnp.ones((1, 4)))
  with pytest.raises(ValueError, match=rf"\[B, 4\], got \[B, {columns}\]"):
    flow.inverse(variables, jnp.ones((1, columns)))


def test_pictures_of_integers_are_refused():
  flow = make_flow(bj.Haar(), (4, 4, 3))
  picture = np.full((1, 4, 4, 3), 200, np.uint8)
  with pytest.raises(ValueError, match=r"x is uint8, .* convert it to float32"):
    flow.log_prob({}, picture)
  # By itself, the layer makes them what they have to be.
  z, _ = bj.Haar().apply({}, picture)
  expected, _ = bj.Haar().apply({}, picture.astype(np.float32))
  np.testing.assert_array_equal(z, expected)


def test_a_condition_left_out_or_of_other_channels_is_refused(made):
  flow, variables, x, cond = made
  said = "with a condition of 5 channels, and is given "
  for wrong, got in ((None, "no cond"), (cond[:, :4], "a condition of 4 ch")):
    with pytest.raises(ValueError, match=said + got):
      flow.forward(variables, x, wrong)
    with pytest.raises(ValueError, match=said + got):
      jax.eval_shape(flow.sample, variables, _key(0), wrong)
  with pytest.raises(ValueError, match=r"is given a condition of 5 \+ 5 chan"):
    flow.forward(variables, x, (cond, cond))


def test_a_flow_that_knows_its_condition_says_its_shape(made):
  module, variables, x, cond = made[0].module, *made[1:]
  flow = make_flow(module, (8, 8, 2), cond_shape=[5])
  assert flow.cond_shape == (5,)
  z, _ = flow.forward(variables, x, cond)
  for wrong, got in (
    (None, "None"),
    (cond[0], r"\[5\]"),
    (cond[:, :4], r"\[3, 4\]"),
    ({"vector": cond}, "dict"),
  ):
    match = rf"takes cond of shape \[B, 5\], got {got}\."
    for call in (
      lambda c: flow.init(_key(0), x, c),
      lambda c: flow.log_prob(variables, x, c),
      lambda c: flow.inverse(variables, z, c),
      lambda c: flow.sample(variables, _key(0), c),
      lambda c: flow.latent_shapes(variables, c),
    ):
      with pytest.raises(ValueError, match=match):
        call(wrong)


class Affine(bj.Bijection):
  """x = mean + L z: the density is N(mean, L L^T)."""

  def setup(self):
    self.mean = self.param("mean", lambda _: jnp.asarray(MEAN))

  def forward(self, x, cond=None):
    z = jnp.linalg.solve(FACTOR, (x - self.mean[None]).T).T
    return z, self._log_det(x, -1)

  def inverse(self, z, cond=None):
    return z @ FACTOR.T + self.mean[None], self._log_det(z, 1)

  def _log_det(self, x, sign):
    return jnp.full(len(x), sign * np.log(np.linalg.det(FACTOR)), jnp.float32)


@pytest.fixture(scope="module")
def affine():
  flow = make_flow(Affine(), (3,))
  return flow, flow.init(_key(0), np.zeros((1, 3), np.float32))


def _density(x):
  return scipy.stats.multivariate_normal.logpdf(x, MEAN, FACTOR @ FACTOR.T)


def test_unconditional_density_is_the_gaussians(affine):
  flow, variables = affine
  x = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
  parts = flow.log_prob(variables, x)
  np.testing.assert_allclose(parts.total, _density(x), rtol=1e-5)
  np.testing.assert_allclose(parts.log_det, [np.log(2.0)] * 6, rtol=1e-5)


def test_unconditional_samples_are_the_gaussians(affine):
  flow, variables = affine
  draw = jax.jit(flow.sample, static_argnums=(2, 3))
  x, log_prob = map(np.asarray, draw(variables, _key(3), None, 20_000))
  assert x.shape == (1, 20_000, 3) and log_prob.shape == (1, 20_000)
  np.testing.assert_allclose(log_prob[0], _density(x[0]), rtol=1e-4, atol=1e-4)
  # Five standard errors of the largest entry.
  np.testing.assert_allclose(np.mean(x[0], 0), MEAN, atol=0.08)
  np.testing.assert_allclose(np.cov(x[0].T), FACTOR @ FACTOR.T, atol=0.2)
  warm, _ = draw(variables, _key(3), None, 20_000, 0.5)
  np.testing.assert_allclose(
    np.asarray(warm) - MEAN, 0.5 * (x - MEAN), atol=1e-5
  )


def test_jit_grad_and_vmap(affine):
  flow, variables = affine
  x = np.random.default_rng(2).normal(size=(4, 2, 3)).astype(np.float32)

  def total(variables, x):
    return flow.log_prob(variables, x).total

  stacked = jax.jit(jax.vmap(total, (None, 0)))(variables, x)
  np.testing.assert_allclose(stacked, _density(x), rtol=1e-5)
  gradient = jax.jit(jax.grad(lambda v: jnp.sum(total(v, x[0]))))(variables)
  precision = np.linalg.inv(FACTOR @ FACTOR.T)
  expected = np.sum((x[0] - MEAN) @ precision, axis=0)
  np.testing.assert_allclose(gradient["params"]["mean"], expected, rtol=1e-4)


def test_no_rows_are_refused(made):
  flow, variables, x, cond = made
  with pytest.raises(ValueError, match="x has no rows"):
    flow.log_prob(variables, x[:0], cond[:0])
  with pytest.raises(ValueError, match="cond has no rows"):
    flow.sample(variables, _key(0), cond[:0])


def test_cond_shapes_may_be_numpys_integers():
  shapes = {"a": (np.int64(3),), "b": (np.int32(4), 4)}
  flow = make_flow(bj.ActNorm(), (2,), shapes)
  assert flow.cond_shape == {"a": (3,), "b": (4, 4)}
  assert make_flow(bj.ActNorm(), (2,), np.int64(3)).cond_shape == (3,)
