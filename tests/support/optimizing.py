"""Parameters in two groups, and Adam as published, for tests of optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinn_jax.training.optimizer import make_optimizer

PARAMS = {
  "condition_net": {"kernel": np.array([[0.5, -1.0], [2.0, 0.1]])},
  "bijection": {"bias": np.array([1.5, -0.3, 0.0])},
}


def to_float32(tree):
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def draw_gradients(steps, seed=0, scale=1.0):
  random = np.random.default_rng(seed)
  return [
    jax.tree.map(lambda leaf: scale * random.normal(size=leaf.shape), PARAMS)
    for _ in range(steps)
  ]


def run(gradients, losses=None, **options):
  """Returns the initial parameters and those after each step."""
  options = {"num_steps": 10, "learning_rate": 0.1, **options}
  optimizer = make_optimizer(**options)

  @jax.jit
  def update(params, state, gradient, loss):
    updates, state = optimizer.update(gradient, state, params, value=loss)
    return optax.apply_updates(params, updates), state

  params = [to_float32(PARAMS)]
  state = optimizer.init(params[0])
  losses = losses or [1.0] * len(gradients)
  for gradient, loss in zip(gradients, losses, strict=True):
    latest, state = update(params[-1], state, to_float32(gradient), loss)
    params.append(latest)
  return params


def adam(part, gradients, rates, eps=1e-8, weight_decay=0.0):
  """Runs algorithm 1 of Kingma and Ba 2015, with PyTorch's L2 gradient."""
  w = np.array(part)
  m, v = np.zeros_like(w), np.zeros_like(w)
  b1, b2 = 0.9, 0.999
  for t, (gradient, rate) in enumerate(
    zip(gradients, rates, strict=True), start=1
  ):
    g = gradient + weight_decay * w
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    w -= rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
  return w


def assert_part(params, name, expected):
  [actual] = params[name].values()
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def parts_of(trees, name):
  return [next(iter(tree[name].values())) for tree in trees]
