"""Pretraining teaches an encoder to predict the picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cinn_jax import make_flow
from cinn_jax.data import loader, sources
from cinn_jax.experiment.build import build_model
from cinn_jax.runtime import sharding
from cinn_jax.tasks import Task
from cinn_jax.training import pretraining
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.workdir.state import init_state

MODEL = {
  "levels": 2,
  "depth": 1,
  "hidden": 4,
  "blocks": 1,
  "taps": (0,),
  "encoder_width": 8,
  "encoder_growth": 4,
}


def _prepare(batch):
  x = batch["image"].astype(jnp.float32) / 256
  b, h, w, c = x.shape
  return x, x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


TASK = Task(
  prepare=_prepare,
  add_noise=lambda rng, x, cond: (x, cond),
  render=lambda x, cond: x,
  condition_picture=lambda cond: cond,
  image_size=8,
  event_shape=(8, 8, 3),
  cond_shape=(4, 4, 3),
  scales=(256.0,) * 3,
  description="test",
  condition_name="small",
)


def _config(steps):
  return ConfigDict(
    {
      "augment": {"min_scale": 1.0, "flip": False},
      "pretrain": {"steps": steps, "batch_size": 8, "learning_rate": 1e-2},
      "train": {"seed": 0},
    }
  )


@pytest.fixture(scope="module")
def start():
  flow = make_flow(
    build_model("srflow", **MODEL), TASK.event_shape, TASK.cond_shape
  )
  optimizer = make_optimizer(num_steps=9, learning_rate=1e-3)
  key = jax.random.key(0, impl="rbg")  # compiles fast
  return flow, jax.jit(lambda: init_state(key, flow, TASK, optimizer))()


def _pretrain(start, config, alive=lambda: None):
  flow, state = start
  train_source, validation_source = (
    sources.open_source("photos", split) for split in ("train", "validation")
  )
  places = sharding.state_shardings(
    state, sharding.make_mesh(), fully_sharded=False
  )
  return pretraining.pretrain(
    state,
    config=config,
    flow=flow,
    task=TASK,
    train_source=train_source,
    validation_source=validation_source,
    shardings=places,
    alive=alive,
  )


def _error(flow, params):
  """Returns mean absolute errors: the encoder's, and the best constant's."""
  source = sources.open_source("photos", "validation")
  batch = next(
    loader.evaluation_batches(source, image_size=8, batch_size=len(source))
  )
  x, cond = _prepare(batch)
  prediction = jax.jit(
    lambda p: flow.module.condition_net.apply(
      {"params": p}, cond, method="predict"
    )
  )(params)
  errors = (np.mean(np.abs(value - x)) for value in (prediction, np.median(x)))
  return tuple(map(float, errors))


@pytest.mark.slow
def test_only_the_encoder_learns(start, capsys):
  flow, before = start
  before = jax.tree.map(np.asarray, before)
  beats = []
  after = _pretrain(start, _config(120), lambda: beats.append(None))
  assert len(beats) == 120
  assert "mean absolute error" in capsys.readouterr().out
  net = "condition_net"
  error, constant = _error(flow, after.fit.params[net])
  assert error < 0.8 * constant
  jax.tree.map(
    np.testing.assert_array_equal, after.ema[net], after.fit.params[net]
  )
  unchanged = jax.tree.map(np.array_equal, before, jax.device_get(after))
  assert all(jax.tree.leaves(unchanged.fit.params["bijection"]))
  assert all(jax.tree.leaves(unchanged.ema["bijection"]))
  assert all(jax.tree.leaves(unchanged.fit.optimizer)) and after.step == 0


def test_without_steps_or_a_section_nothing_changes(start):
  config = _config(0)
  assert _pretrain(start, config) is start[1]
  del config["pretrain"]
  assert _pretrain(start, config) is start[1]
