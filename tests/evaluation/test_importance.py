"""The importance-weighted bound, for a known probability."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from cinn_jax import bijections as bj
from cinn_jax import likelihood, make_flow
from cinn_jax.evaluation import bits, importance
from cinn_jax.tasks import Task

# Whole numbers under N(0.3, 2^2), far enough out for the noise to matter.
WHOLE = np.array([[0.0, 1.0], [-12.0, 8.0], [-1.0, 0.0]], np.float32)
CDF = stats.norm(0.3, 2.0).cdf
EXACT = np.log(CDF(WHOLE + 1) - CDF(WHOLE)).sum(axis=1)
FLOW = make_flow(bj.Standardize(0.3, 2.0), (1, 1, 2))
TASK = Task(
  prepare=lambda batch: (batch["image"], None),
  add_noise=lambda rng, x, cond: (x + jax.random.uniform(rng, x.shape), cond),
  render=None,
  condition_picture=None,
  image_size=1,
  event_shape=(1, 1, 2),
  cond_shape=(),
  scales=(1.0, 1.0),
  description="",
  condition_name="",
)


REPEATS = 2_000  # Copies of each picture, each with its own noise.


def _batch():
  image = np.repeat(WHOLE, REPEATS, axis=0).reshape(-1, 1, 1, 2)
  return {"image": jnp.asarray(image)}


def _mean(values):
  return np.asarray(values).reshape(len(WHOLE), REPEATS).mean(axis=1)


def _nats(num_draws, index=0):
  score = jax.jit(importance.make_bound(FLOW, TASK, num_draws, seed=0))
  return np.asarray(score({}, _batch(), index))


def test_more_draws_give_a_tighter_bound():
  one, eight, many = (_mean(_nats(k)) for k in (1, 8, 500))
  np.testing.assert_allclose(many, EXACT, atol=0.02)
  assert np.all(one < eight) and np.all(eight < EXACT + 0.01)
  # One draw is far from the truth if the density varies much.
  assert one[1] < eight[1] - 0.3 < EXACT[1]
  # One draw gives plain bits/dim.
  plain = jax.jit(bits.make_scorer(FLOW, TASK, seed=0))({}, _batch(), 0)
  np.testing.assert_allclose(
    one, _mean(plain["prior"] + plain["log_det"]), atol=0.15
  )


def test_all_draws_are_given_the_same_hints():
  def add_noise(rng, x, cond):
    hints = jax.random.bernoulli(rng, 0.5, (len(x), 1))
    return x, {"hints": hints.astype(x.dtype)}

  def log_prob(variables, x, cond):
    # A density that differs by e with and without hints.
    return likelihood.LogProb(cond["hints"][:, 0], 0 * cond["hints"][:, 0])

  flow = FLOW._replace(log_prob=log_prob)
  task = TASK._replace(add_noise=add_noise)
  nats = importance.make_bound(flow, task, 9, seed=0)({}, _batch(), 0)
  # Over draws of hints, it would be an average for every picture.
  np.testing.assert_allclose(np.unique(np.round(nats, 5)), [0, 1], atol=1e-5)


def test_in_words():
  scores = {
    "draws": 16,
    "bits_per_dim": -1.5,
    "bits_per_dim_of_unscaled_data": 6.5,
  }
  text = importance.in_words(scores, TASK)
  assert "over 16 draws" in text and "-1.5000" in text and "6.5000" in text


def test_draws_depend_on_the_batch():
  np.testing.assert_array_equal(_nats(3, 1), _nats(3, 1))
  assert np.abs(_nats(3, 1) - _nats(3, 2)).max() > 1e-3
