"""The conditional VAE: its bound, its samples and its loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import likelihood
from cinn_jax.models import comparators
from tests.support.drawing import draw_like, normal

X = normal(0, (2, 4, 4, 1), np.float32)
COND = normal(1, (2, 3), np.float32)
SETTINGS = {
  "channels": 1,
  "widths": (4, 4),
  "blocks": 0,
  "encoder_widths": (4, 4),
  "code_channels": (0, 1),
  "code": 2,
  "std": 0.5,
}


@pytest.fixture(scope="module")
def vae():
  """The flow-like object of a VAE, and random variables."""
  model = comparators.BUILDERS["conditional_vae"](**SETTINGS)
  flow = comparators.make(model, X.shape[1:], COND.shape[1:])
  shapes = jax.eval_shape(flow.init, jax.random.key(0), X, COND)
  return flow, draw_like(shapes, 2, np.float32, 0.15)


@pytest.fixture(scope="module")
def draws(vae):
  """Draws of the bound, [8192, B]."""
  return _bounds(*vae, 8192)


def _bounds(flow, variables, count):
  """Draws the bound many times: [count, B]."""
  keys = jax.random.split(jax.random.key(3), count)
  bound = flow.objective.bound
  run = jax.jit(jax.vmap(lambda key: bound(variables, key, X, COND)))
  return np.asarray(run(keys), np.float64)


def test_the_loss_is_minus_the_mean_bound(vae, draws):
  flow, variables = vae
  keys = jax.random.split(jax.random.key(4), len(draws))
  loss = jax.jit(
    jax.vmap(lambda key: flow.objective.loss(variables, key, X, COND)[0])
  )
  losses = X[0].size * np.asarray(loss(keys), np.float64)
  bounds = draws.mean(axis=1)
  error = math.hypot(bounds.std(), losses.std()) / math.sqrt(len(draws))
  # The divergence in the loss is exact, that in the bound is drawn.
  assert abs(losses.mean() + bounds.mean()) < 4 * error
  assert error < 0.1


def test_more_draws_of_the_code_tighten_the_bound(draws):
  ones, eights, sixties = (
    np.mean(jax.nn.logsumexp(draws.reshape(-1, k, 2), axis=1) - math.log(k))
    for k in (1, 8, 64)
  )
  assert ones < eights < sixties


def test_the_bound_reaches_the_likelihood(vae, draws):
  # p(x | c) is also the mean density over codes of the prior.
  flow, variables = vae

  @jax.jit
  @jax.vmap
  def density(key):
    keys = jax.random.split(key)
    code = (
      jax.random.normal(keys[0], (2, 2, 2, 1)),
      jax.random.normal(keys[1], (2, 2)),
    )
    mean, std = flow.module.apply(
      variables, code, COND, (4, 4), method="moments"
    )
    nats = likelihood.standard_normal((X - mean) / std)
    return nats - jnp.sum(jnp.log(std), axis=(1, 2, 3))

  keys = jax.random.split(jax.random.key(5), len(draws))
  prior = np.asarray(density(keys))
  likely, weighted = (
    jax.nn.logsumexp(values, axis=0) - math.log(len(values))
    for values in (prior, draws)
  )
  np.testing.assert_allclose(weighted, likely, atol=0.1)
  # One draw of the bound is worse, so the agreement says something.
  assert (draws.mean(axis=0) < likely - 0.2).all()


def test_beta_weighs_the_code_alone(vae):
  flow, variables = vae
  other = comparators.BUILDERS["conditional_vae"](**SETTINGS, beta=3.0)
  key = jax.random.key(6)
  loss, terms = jax.jit(flow.objective.loss)(variables, key, X, COND)
  heavier, same = jax.jit(other.loss)(variables, key, X, COND)
  for name, value in terms.items():
    assert float(same[name]) == pytest.approx(float(value), rel=1e-5)
  rate = float(terms["bits_of_code"]) * math.log(2)
  assert float(heavier - loss) == pytest.approx(2 * rate, rel=1e-4)
  assert rate > 0.01


def test_samples_have_the_noise_of_their_deviation(vae):
  flow, variables = vae
  code = (normal(7, (2, 2, 2, 1), np.float32), normal(8, (2, 2), np.float32))
  noise = normal(9, X.shape, np.float32)
  mean, std = flow.module.apply(variables, code, COND, (4, 4), method="moments")
  x, log_prob = flow.inverse(variables, (noise, *code), COND)
  np.testing.assert_allclose(x, mean + std * noise, rtol=1e-5, atol=1e-5)
  assert np.isnan(log_prob).all()
  shapes = [z.shape for z in flow.latent_shapes(variables, COND)]
  assert shapes == [(2, 4, 4, 1), (2, 2, 2, 1), (2, 2)]


@pytest.mark.parametrize(
  "settings, complaint",
  [
    ({"code": 0, "code_channels": (0, 0)}, "A VAE needs a code"),
    ({"code_channels": (0, 0, 1)}, "of one length; got 2, 2 and 3"),
    ({"memory": "remat"}, "memory='remat' is for flows"),
  ],
)
def test_wrong_settings_raise_one_line(settings, complaint):
  with pytest.raises(ValueError) as error:
    comparators.BUILDERS["conditional_vae"](**{**SETTINGS, **settings})
  assert complaint in str(error.value) and "\n" not in str(error.value)
