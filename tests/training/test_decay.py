"""Weight decay of `fit`: kernels alone, by the number of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cinn_jax
from cinn_jax.training.decay import default_decay, make_decaying
from tests.support.drawing import normal
from tests.support.small_flow import FLOW


def _decaying(**options):
  return make_decaying(
    **{
      "num_steps": 4,
      "learning_rate": 0.1,
      "schedule": "cosine",
      "clip_norm": 0.0,
      "weight_decay": 2.0,
      **options,
    }
  )


def test_kernels_decay_with_the_learning_rate():
  params = {"net": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
  optimizer = _decaying()
  state, zero = optimizer.init(params), jax.tree.map(jnp.zeros_like, params)
  for rate in optax.cosine_decay_schedule(0.1, 4)(np.arange(4)):
    before = params["net"]["kernel"]
    updates, state = optimizer.update(zero, state, params)
    params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(
      params["net"]["kernel"], before * (1 - 2 * rate), rtol=1e-5
    )
  np.testing.assert_array_equal(params["net"]["bias"], 1)


@pytest.mark.parametrize("learning_rate", [0.1, lambda step: 0.1 / (1 + step)])
def test_without_decay_it_is_adam(learning_rate):
  params = {"kernel": jnp.ones(3)}
  ours = _decaying(
    learning_rate=learning_rate, schedule="constant", weight_decay=0.0
  )
  states = [each.init(params) for each in (ours, optax.adam(learning_rate))]
  results = [params, params]
  for k in range(3):
    gradient = {"kernel": jnp.asarray(normal(k, (3,), np.float32))}
    for i, each in enumerate((ours, optax.adam(learning_rate))):
      updates, states[i] = each.update(gradient, states[i], results[i])
      results[i] = optax.apply_updates(results[i], updates)
  np.testing.assert_allclose(*(r["kernel"] for r in results), rtol=1e-5)


def test_default_falls_with_many_rows():
  assert default_decay(10) == default_decay(10_000) == 1
  assert default_decay(1_000_000) == pytest.approx(0.01)


def test_default_grows_with_long_vectors():
  assert default_decay(10_000, 5) == 1
  assert default_decay(10_000, 10) == default_decay(10_000, 500) == 4
  assert default_decay(100_000, 7) == pytest.approx(0.1 * 1.96)


@pytest.mark.slow
def test_arrays_decay_and_streams_do_not():
  x = normal(0, (400, 2), np.float32)

  def size(x, **options):
    result = cinn_jax.fit(
      FLOW,
      jax.random.key(0),
      x,
      num_epochs=10,
      learning_rate=0.01,
      steps_per_epoch=10,
      batch_size=40,
      progress=False,
      **options,
    )
    leaves = jax.tree_util.tree_leaves_with_path(result.variables["params"])
    kernels = [leaf for path, leaf in leaves if path[-1].key == "kernel"]
    return float(optax.tree.norm(kernels))

  def stream():
    while True:
      yield x[:40], None

  free = size(x, weight_decay=0.0)
  assert size(x) < 0.9 * free
  assert size(stream()) == size(stream(), weight_decay=0.0)


@pytest.mark.parametrize("decay", [-1, float("inf"), "a"])
def test_wrong_decay_raises(decay):
  with pytest.raises(ValueError, match="weight_decay must be"):
    cinn_jax.fit(FLOW, jax.random.key(0), np.ones((50, 2)), weight_decay=decay)
