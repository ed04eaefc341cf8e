"""Models of two flows score their condition and train in phases."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cinn_jax import make_flow
from cinn_jax.evaluation import bits
from cinn_jax.tasks import Task
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import Fit, make_train_step, make_update
from cinn_jax.workdir.state import init_state
from tests.support import pairs

SHAPE, RATE, WEIGHT = (4, 4, 1), 0.1, 0.25
DIMS = math.prod(SHAPE)
BATCH = {"image": pairs.images(0, (6, *SHAPE[:2], 2), np.float32)}
X, COND = BATCH["image"][..., :1], BATCH["image"][..., 1:]
PARTS = ("target_flow", "condition_flow", "latent_flows")

TASK = Task(
  prepare=lambda batch: jnp.split(batch["image"], 2, axis=-1),
  add_noise=lambda rng, x, cond: (x, cond),
  render=None,
  condition_picture=None,
  image_size=4,
  event_shape=SHAPE,
  cond_shape=SHAPE,
  scales=(256.0,),
  description="pairs",
  condition_name="image",
)


@functools.cache
def _flow(weight=WEIGHT):
  return make_flow(
    pairs.make(
      "dual_glow",
      levels=1,
      channels=1,
      condition_channels=1,
      condition_weight=weight,
    ),
    SHAPE,
    SHAPE,
  )


@functools.cache
def _params():
  return pairs.draw(_flow().module, 3, X, COND)["params"]


def _nats(params, weight):
  return _flow(weight).log_prob({"params": params}, X, COND).total


def _condition_loss(params):
  flow = _flow().module.condition_flow
  z, log_det = flow.apply({"params": params["condition_flow"]}, COND)
  squares = sum(jnp.sum(leaf**2, axis=(1, 2, 3)) for leaf in z) / 2
  nats = log_det - squares - DIMS * math.log(2 * math.pi) / 2
  return -jnp.mean(nats) / DIMS


def _target_loss(params):
  flow = _flow().module.target_flow
  z, log_det = flow.apply({"params": params["target_flow"]}, X)
  squares = sum(jnp.sum(leaf**2, axis=(1, 2, 3)) for leaf in z) / 2
  nats = log_det - squares - DIMS * math.log(2 * math.pi) / 2
  return -jnp.mean(nats) / DIMS


@jax.jit
def _scores(params):
  """Returns the conditional likelihood, and the loss of each flow alone."""
  return _nats(params, 0.0), _target_loss(params), _condition_loss(params)


def _assert_close(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    actual,
    expected,
  )


@functools.cache
def _update(weight):
  return jax.jit(make_update(_flow(weight), optax.sgd(RATE)))


@functools.cache
def _take_step(weight, unconditional=None):
  """Takes a step of gradient descent; returns (parameters, measured)."""
  if unconditional is not None:
    unconditional = jnp.array(unconditional)
  fit = Fit(_params(), {}, optax.sgd(RATE).init(_params()))
  after, measured = _update(weight)(fit, X, COND, unconditional)
  return after.params, measured


def _descend(loss):
  """Returns (the loss, the parameters after a step of gradient descent)."""
  value, gradient = jax.jit(jax.value_and_grad(loss))(_params())
  return value, jax.tree.map(lambda p, g: p - RATE * g, _params(), gradient)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, WEIGHT])
def test_step_descends_both_likelihoods(weight):
  def loss(params):
    own = -jnp.mean(_nats(params, weight)) / DIMS
    return own + weight * _condition_loss(params)

  after, measured = _take_step(weight)
  value, expected = _descend(loss)
  _assert_close(after, expected)
  _assert_close(measured["loss"], value)
  # The weight of the condition does not change the conditional likelihood.
  nats, _, condition_loss = _scores(_params())
  _assert_close(measured["parts"].total, nats)
  if weight:
    _assert_close(measured["auxiliary_loss"], weight * condition_loss)
  else:
    assert measured["auxiliary_loss"] is None


@pytest.mark.slow
def test_unconditional_steps_train_flows_separately():
  after, measured = _take_step(0.0, True)

  def loss(params):
    return _target_loss(params) + _condition_loss(params)

  value, expected = _descend(loss)
  _assert_close(after, expected)
  _assert_close(measured["loss"], value)
  conditional, _ = _take_step(0.0)
  _assert_close(_take_step(0.0, False)[0], conditional)


@functools.cache
def _phases():
  """Returns (state at step 0, step), with two phases of two steps."""
  optimizer = make_optimizer(
    num_steps=6, learning_rate=1e-2, groups=phases.groups(2, 4)
  )
  step = make_train_step(
    _flow(), TASK, optimizer, seed=0, ema_decay=0.9, unconditional_steps=2
  )
  init = functools.partial(init_state, flow=_flow(), task=TASK)
  key = jax.random.key(0, impl="rbg")
  state = jax.jit(lambda: init(key, optimizer=optimizer, batch=BATCH))()
  return state, jax.jit(step)


def test_run_goes_through_its_phases():
  state, step = _phases()
  states, metrics = [state], []
  for _ in range(6):
    state, measured = step(states[-1], BATCH)
    states.append(state)
    metrics.append(measured)
  params = [jax.device_get(state.fit.params) for state in states]
  changes = [
    [
      name
      for name in PARTS
      if any(
        np.any(a != b)
        for a, b in zip(
          jax.tree.leaves(before[name]),
          jax.tree.leaves(after[name]),
          strict=True,
        )
      )
    ]
    for before, after in itertools.pairwise(params)
  ]
  flows = ["target_flow", "condition_flow"]
  assert changes == [flows] * 2 + [["latent_flows"]] * 2 + [list(PARTS)] * 2
  alone = float(_scores(params[1])[1]) / math.log(2)
  np.testing.assert_allclose(metrics[1]["bits_per_dim"], alone, rtol=1e-4)
  nats = np.mean(_scores(params[2])[0])
  together = -float(nats) / DIMS / math.log(2)
  np.testing.assert_allclose(metrics[2]["bits_per_dim"], together, rtol=1e-4)


def test_phases_follow_each_other():
  config = ConfigDict(
    {
      "optimizer": {"groups": {"target_flow": {"eps": 1e-6}}},
      "pretrain": {"unconditional_steps": 5, "fine_tune_from": 9},
    }
  )
  assert phases.optimizer_options(config)["groups"] == {
    "target_flow": {"paused": (5, 9), "eps": 1e-6},
    "condition_flow": {"paused": (5, 9)},
    "latent_flows": {"paused": (0, 5)},
  }
  assert phases.unconditional_steps(config) == 5
  assert phases.groups(5)["target_flow"] == {"paused": (5, -1)}
  del config.pretrain
  assert phases.unconditional_steps(config) == 0
  assert phases.optimizer_options(config) == config.optimizer.to_dict()
  with pytest.raises(
    ValueError, match=r"at least pretrain.unconditional_steps \(5\)"
  ):
    phases.groups(5, 3)


def test_unconditional_steps_need_two_flows():
  class One:
    module = _flow().module.target_flow

  with pytest.raises(ValueError, match=r"of two flows, .*3 for a Chain"):
    make_train_step(One, TASK, None, seed=0, ema_decay=0, unconditional_steps=3)


def test_validation_scores_every_part():
  flow = _flow()
  score = jax.jit(bits.make_scorer(flow, TASK, seed=0))
  values = score({"params": _params()}, BATCH, 0)
  expected = WEIGHT * _scores(_params())[2]
  np.testing.assert_allclose(
    values["auxiliary_loss"].mean(), expected, rtol=1e-4
  )
  errors = values["reconstruction_error"]
  assert sorted(errors) == sorted(PARTS)
  # In units of the 256 levels.
  largest = max(float(error.max()) for error in errors.values())
  assert 1e-6 < largest < 0.01
  mask = np.array([1, 1, 1, 0, 0, 0])
  scores = bits.summarize([(jax.device_get(values), mask)], TASK)
  assert scores["examples"] == 3
  for part in PARTS:
    assert scores[f"reconstruction_error_{part}"] == pytest.approx(
      float(errors[part][:3].max())
    )
  words = bits.in_words(scores, TASK)
  assert "Reconstruction errors in the data's own units:" in words
  assert all(part in words for part in PARTS)
