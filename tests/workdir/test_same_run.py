"""Some settings may change when a run is resumed, others may not."""

import pytest

from cinn_jax.experiment import recipes
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.same_run import (
  check_kind,
  check_same_run,
  note_pictures,
)
from configs import mnist
from tests.support import tiny
from tests.support.checkpointing import state_at


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  checkpoints = Checkpoints(folder)
  config = tiny.get_config().to_dict()
  checkpoints.save(state_at(3), config, {"bits_per_dim": 1.0})
  checkpoints.close()
  return folder


@pytest.mark.parametrize(
  "change",
  [
    {"train.num_steps": 99},
    {"train.eval_every": 3, "train.log_every": 1, "train.sheet_every": 7},
    {"model.memory": "reversible"},
    {"data.cache": "elsewhere"},
  ],
)
def test_length_logging_and_memory_may_change(run, change):
  config = tiny.get_config()
  config.update_from_flattened_dict(change)
  check_same_run(run, config.to_dict())


@pytest.mark.parametrize(
  "change, message",
  [
    ({"model.clamp": "freia_2021"}, "model.clamp is 'freia_2021', was 'cinn"),
    ({"task.noise_scale": 0.1}, "task.noise_scale is 0.1, was 0.05"),
    ({"optimizer.clip_norm": 1.0}, "optimizer.clip_norm is 1.0, was 10.0"),
    ({"data.max_short_side": 64}, "data.max_short_side is 64, was 512"),
    ({"augment.flip": False}, "augment.flip is False, was True"),
    ({"train.seed": 1}, "train.seed is 1, was 0"),
    (
      {"model.compute_dtype": "bfloat16"},
      "model.compute_dtype is 'bfloat16', was 'float32'",
    ),
    ({"model.hidden": (4, 4, 4, 9)}, r"hidden is \[4, 4, 4, 9\], was"),
  ],
)
def test_another_experiment_raises(run, change, message):
  config = tiny.get_config()
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=message) as error:
    check_same_run(run, config.to_dict())
  assert "holds step 3 of a run" in str(error.value)
  assert str(error.value).count(", was ") == 1


def test_run_may_be_older_than_a_setting(tmp_path):
  old = tiny.get_config().to_dict()
  for name in recipes.MODEL:
    del old["model"][name]
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state_at(3), old, {"bits_per_dim": 1.0})
  checkpoints.close()
  check_same_run(tmp_path, tiny.get_config().to_dict())


def test_digits_run_may_be_older_than_a_setting(tmp_path):
  config = tiny.digits()
  config.optimizer.clip_norm = 0.0
  old = config.to_dict()
  del old["optimizer"]["clip_norm"], old["task"]["num_classes"]
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state_at(3), old, {"bits_per_dim": 1.0})
  checkpoints.close()
  check_same_run(tmp_path, config.to_dict())
  config.optimizer.clip_norm = 1.0
  with pytest.raises(ValueError, match=r"clip_norm is 1\.0, was 0\.0"):
    check_same_run(tmp_path, config.to_dict())


def test_earlier_mnist_blocks_were_scanned(run):
  now = tiny.get_config().to_dict()
  check_same_run(run, {**now, "model": {**now["model"], "scanned": True}})
  with pytest.raises(ValueError, match="scanned is False, was True"):
    check_same_run(run, {**now, "model": {**now["model"], "scanned": False}})


def test_empty_workdir_takes_any_run(tmp_path):
  check_same_run(tmp_path, tiny.get_config().to_dict())


def test_changed_pictures_are_told(tmp_path):
  listings = {"training": "a", "validation": "b"}
  assert not note_pictures(tmp_path, listings)
  assert not note_pictures(tmp_path, listings)
  line = note_pictures(tmp_path, {**listings, "training": "c"})
  assert line.startswith("The pictures for training have changed")
  assert not note_pictures(tmp_path, {**listings, "training": "c"})


def test_a_run_of_another_kind_is_refused(run):
  config = tiny.get_config()
  check_kind(run, config)
  config.optimizer.learning_rate = 5.0
  check_kind(run, config)
  with pytest.raises(ValueError, match=r"task class_conditional, but .*"):
    check_kind(run, tiny.digits())
  check_kind("mnist", mnist.get_config("small"))
  with pytest.raises(ValueError, match="but mnist holds a run with class_cond"):
    check_kind("mnist", config)
  # What is missing is named by those who read it.
  check_kind(run / "absent", config)
  check_kind(run / "absent.safetensors", config)
