"""Conditional GANs: two losses, two sets of parameters, and their noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.models import comparators
from tests.support.drawing import draw_like, normal

X = normal(0, (3, 4, 4, 1), np.float32)
COND = normal(1, (3, 2), np.float32)
SETTINGS = {
  "channels": 1,
  "widths": (4,),
  "blocks": 0,
  "code_channels": (1,),
  "code": 2,
  "discriminator_widths": (4,),
  "std": 0.5,
}
KEY = jax.random.key(2)


def _model(**settings):
  return comparators.BUILDERS["conditional_gan"](**{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def variables():
  shapes = jax.eval_shape(_model().init, KEY, X, COND)
  return draw_like(shapes, 3, np.float32, 0.3)


def _gradients(variables, **settings):
  """Returns the terms, and the gradients of both networks."""
  model = _model(**settings)
  gradients, terms = jax.jit(
    jax.grad(
      lambda params: model.loss({"params": params}, KEY, X, COND), has_aux=True
    )
  )(variables["params"])
  judge = gradients.pop("discriminator")
  return terms, gradients, judge


def _is_close(one, other, factor=1.0):
  return all(
    np.allclose(factor * a, b, rtol=1e-3, atol=1e-5)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )


@pytest.mark.parametrize("adversarial", ["hinge", "relativistic"])
def test_each_network_has_its_own_loss(variables, adversarial):
  base = {"adversarial": adversarial, "r1_weight": 0.0}
  terms, maker, judge = _gradients(variables, **base)
  _, seven, same_judge = _gradients(variables, **base, adversarial_weight=7.0)
  # The generator's weight changes the generator alone.
  assert _is_close(maker, seven, 7.0) and _is_close(judge, same_judge)
  assert any(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(maker))
  assert set(terms) == {"generator", "l1", "discriminator", "r1"}


def test_l1_pulls_the_generator_alone(variables):
  _, maker, judge = _gradients(variables)
  _, other, same = _gradients(variables, l1_weight=1.0)
  assert not _is_close(maker, other) and _is_close(judge, same)


def test_a_step_against_the_gradient_helps_both(variables):
  model = _model(r1_weight=0.0)
  before, maker, judge = _gradients(variables, r1_weight=0.0)
  params = variables["params"]
  loss = jax.jit(lambda params: model.loss({"params": params}, KEY, X, COND))

  def terms(**gradients):
    moved = {
      name: jax.tree.map(
        lambda p, g: p - 0.01 * g, params[name], gradients[name]
      )
      if name in gradients
      else params[name]
      for name in params
    }
    return loss(moved)[1]

  assert terms(**maker)["generator"] < before["generator"]
  assert terms(discriminator=judge)["discriminator"] < before["discriminator"]


def test_r1_is_half_the_squared_gradient_of_the_score(variables):
  model = _model()
  terms, _, _ = _gradients(variables)

  def score(x, cond):
    return jnp.mean(model.apply(variables, x[None], cond[None], method="judge"))

  gradients = jax.vmap(jax.grad(score))(X, COND)
  expected = 0.5 * np.mean(np.sum(np.square(gradients), axis=(1, 2, 3)))
  assert float(terms["r1"]) == pytest.approx(expected, rel=1e-4)


def test_noise_changes_the_answer(variables):
  flow = comparators.make(_model(), X.shape[1:], COND.shape[1:])
  x, log_prob = flow.sample(variables, KEY, COND, num_samples=2)
  assert np.abs(x[:, 0] - x[:, 1]).max() > 1e-3
  assert np.isnan(log_prob).all()
  with pytest.raises(ValueError, match="A conditional gan has no latents"):
    flow.forward(variables, X, COND)


def test_unknown_loss_raises():
  with pytest.raises(ValueError, match="hinge or relativistic, got 'moon'"):
    _model(adversarial="moon")


def test_a_condition_of_several_parts_is_refused():
  flow = comparators.make(_model(), X.shape[1:], {"a": COND.shape[1:]})
  with pytest.raises(ValueError, match="condition of one array, without hints"):
    flow.init(KEY, X, {"a": COND})
