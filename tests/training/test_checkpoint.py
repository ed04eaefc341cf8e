"""Checkpoints: what is kept, what comes back, and which run it belongs to."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.training.checkpoint import (
  Checkpoints,
  check_same_run,
  read_config,
)
from cinn_jax.training.state import State
from tests import tiny

CONFIG = {"model": {"hidden": (4, 8), "init_std": None}}


def _state(step):
  def leaf(k):
    return {"w": jnp.arange(3.0) + 10 * k + step}

  return State(
    step=jnp.asarray(step, jnp.int32),
    params=leaf(1),
    ema=leaf(2),
    constants={"constants": leaf(3), "batch_stats": leaf(4)},
    optimizer=({"mu": leaf(5)}, jnp.asarray(step, jnp.int32)),
  )


def _save(folder, bits):
  """Saves a state for each {step: validation bits/dim}; gives what is kept."""
  checkpoints = Checkpoints(folder)
  for step, value in bits.items():
    checkpoints.save(_state(step), CONFIG, {"bits_per_dim": value})
  checkpoints.wait()
  checkpoints.close()
  return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def _abstract(tree):
  [device] = jax.local_devices()[:1]
  sharding = jax.sharding.SingleDeviceSharding(device)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
  )


def _assert_identical(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_a_state_comes_back_whole(tmp_path):
  _save(tmp_path, {7: 1.5})
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.latest_step() == 7
  restored = checkpoints.restore(7, _abstract(_state(0)))
  _assert_identical(restored, _state(7))
  assert restored.step.dtype == jnp.int32
  variables = checkpoints.restore_variables(
    7, _abstract(_state(0).ema_variables)
  )
  _assert_identical(variables, _state(7).ema_variables)
  assert checkpoints.metrics(7) == {"bits_per_dim": 1.5}
  checkpoints.close()
  assert read_config(tmp_path) == (7, json.loads(json.dumps(CONFIG)))


def test_a_state_may_be_donated_while_it_is_saved(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  state = _state(7)
  checkpoints.save(state, CONFIG, {"bits_per_dim": 1.5})
  jax.tree.map(lambda leaf: leaf.delete(), state)
  checkpoints.wait()
  restored = checkpoints.restore(7, _abstract(_state(0)))
  _assert_identical(restored, _state(7))
  checkpoints.close()


def test_the_two_newest_and_the_best_are_kept(tmp_path):
  assert _save(tmp_path, {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: 2.0}) == [2, 4, 5]


def test_a_resumed_run_still_knows_the_best(tmp_path):
  _save(tmp_path, {1: 1.0, 2: 3.0})
  assert _save(tmp_path, {3: 2.0, 4: 2.5, 5: 2.0}) == [1, 4, 5]
  # Until there is a better one.
  assert _save(tmp_path, {6: 0.5, 7: 2.5, 8: 2.0, 9: 1.5}) == [6, 8, 9]


def test_without_a_checkpoint_there_is_no_config(tmp_path):
  missing = tmp_path / "run"
  with pytest.raises(
    FileNotFoundError, match=r"No trained checkpoint in .*run"
  ):
    read_config(missing)
  assert not missing.exists()
  # What an interrupted save leaves behind is none either.
  (missing / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
  with pytest.raises(FileNotFoundError):
    read_config(missing)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  checkpoints = Checkpoints(folder)
  config = tiny.get_config().to_dict()
  checkpoints.save(_state(3), config, {"bits_per_dim": 1.0})
  checkpoints.close()
  return folder


@pytest.mark.parametrize(
  "change",
  [
    {"train.num_steps": 99},
    {"train.eval_every": 3, "train.log_every": 1, "train.sheet_every": 7},
  ],
)
def test_length_and_logging_may_change(run, change):
  config = tiny.get_config()
  config.update_from_flattened_dict(change)
  check_same_run(run, config.to_dict())


@pytest.mark.parametrize(
  "change, said",
  [
    ({"model.clamp": "freia_2021"}, "model.clamp is 'freia_2021', was 'cinn"),
    ({"task.noise_scale": 0.1}, "task.noise_scale is 0.1, was 0.05"),
    ({"optimizer.clip_norm": 1.0}, "optimizer.clip_norm is 1.0, was 10.0"),
    ({"data.max_short_side": 64}, "data.max_short_side is 64, was 512"),
    ({"augment.flip": False}, "augment.flip is False, was True"),
    ({"train.seed": 1}, "train.seed is 1, was 0"),
    ({"model.hidden": (4, 4, 4, 9)}, r"hidden is \[4, 4, 4, 9\], was"),
  ],
)
def test_another_experiment_is_refused(run, change, said):
  config = tiny.get_config()
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=said) as error:
    check_same_run(run, config.to_dict())
  assert "holds step 3 of a run" in str(error.value)
  assert str(error.value).count(", was ") == 1


def test_an_empty_workdir_takes_any_run(tmp_path):
  check_same_run(tmp_path, tiny.get_config().to_dict())
