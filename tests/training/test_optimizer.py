"""The optimizer against Adam by hand, its schedules and its groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.training.optimizer import make_optimizer, make_schedule


def _run(gradients, start, **options):
  """The parameters after each step, for one array under two names."""
  params = {"bijection": {"w": start}, "condition_net": {"net": {"w": start}}}
  optimizer = make_optimizer(num_steps=10, learning_rate=0.1, **options)
  state = optimizer.init(params)
  history = []
  for gradient in gradients:
    updates, state = optimizer.update(
      jax.tree.map(lambda _, g=gradient: g, params),
      state,
      params,
      value=jnp.asarray(1.0),
    )
    params = jax.tree.map(jnp.add, params, updates)
    history.append(params)
  return history


def _adam(gradients, start, rate=0.1, decay=0.0, eps=1e-8):
  w, m, v = np.array(start, np.float64), 0.0, 0.0
  for t, gradient in enumerate(gradients, 1):
    g = np.asarray(gradient, np.float64) + decay * w
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    w = w - rate * m_hat / (np.sqrt(v_hat) + eps)
  return w


START = jnp.array([1.0, -2.0])
GRADIENTS = [jnp.array([0.5, 0.01]), jnp.array([-1.0, 0.3]), jnp.ones(2)]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_is_adam_with_coupled_decay(decay):
  final = _run(GRADIENTS, START, weight_decay=decay)[-1]
  expected = _adam(GRADIENTS, START, decay=decay)
  np.testing.assert_allclose(final["bijection"]["w"], expected, rtol=1e-5)


def test_groups_have_their_own_numbers_and_the_rest_does_not():
  groups = {"condition_net/net": {"learning_rate": 0.01, "eps": 0.1}}
  final = _run(GRADIENTS, START, groups=groups)[-1]
  own = _adam(GRADIENTS, START, rate=0.01, eps=0.1)
  np.testing.assert_allclose(final["condition_net"]["net"]["w"], own, rtol=1e-5)
  rest = _adam(GRADIENTS, START)
  np.testing.assert_allclose(final["bijection"]["w"], rest, rtol=1e-5)


@pytest.mark.parametrize("steps, still", [(-1, [0, 1, 2]), (2, [0, 1])])
def test_frozen_groups_stay_as_they_are(steps, still):
  groups = {"condition_net": {"frozen_steps": steps}}
  history = _run(GRADIENTS, START, groups=groups)
  for k, params in enumerate(history):
    moved = not np.array_equal(params["condition_net"]["net"]["w"], START)
    assert moved == (k not in still)
    assert not np.array_equal(params["bijection"]["w"], START)


def test_a_group_without_parameters_is_refused():
  with pytest.raises(ValueError, match="names \\['nonesuch'\\]"):
    _run(GRADIENTS, START, groups={"nonesuch": {"eps": 1.0}})


def test_plateau_lowers_the_rate():
  options = {"factor": 0.5, "patience": 1, "accumulation_size": 1}
  ones = [jnp.ones(2)] * 6
  plateau = _run(ones, START, plateau=options)[-1]["bijection"]["w"]
  steady = _run(ones, START)[-1]["bijection"]["w"]
  assert (START - plateau < START - steady).all()


def test_schedules_at_known_steps():
  cosine = make_schedule(1.0, 110, "cosine", warmup_steps=10)
  np.testing.assert_allclose(
    [cosine(0), cosine(5), cosine(10), cosine(60), cosine(110)],
    [0, 0.5, 1, 0.5, 0],
    atol=1e-6,
  )
  stairs = make_schedule(1.0, 100, "step", every=10, factor=0.1)
  np.testing.assert_allclose(
    [stairs(9), stairs(10), stairs(29)], [1, 0.1, 0.01], rtol=1e-5
  )
  with pytest.raises(ValueError, match="constant, cosine and step"):
    make_schedule(1.0, 10, "sawtooth")
