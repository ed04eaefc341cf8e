"""Checkpoints: what is kept, what comes back, and which run it belongs to."""

import gc
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from cinn_jax import storage
from cinn_jax.training import defaults
from cinn_jax.training.checkpoint import Checkpoints
from cinn_jax.training.same_run import check_same_run
from cinn_jax.training.saved import (
  Damaged,
  newest_intact,
  read_config,
  saved_steps,
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
    diverged=jnp.asarray(False),
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
  assert saved_steps(tmp_path) == [7]
  assert read_config(tmp_path, 7) == json.loads(json.dumps(CONFIG))


def test_a_state_of_a_model_without_constants_comes_back(tmp_path):
  state = _state(7)._replace(constants={})
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, CONFIG, {"bits_per_dim": 1.5})
  checkpoints.wait()
  _assert_identical(checkpoints.restore(7, _abstract(state)), state)
  variables = checkpoints.restore_variables(7, _abstract(state.ema_variables))
  _assert_identical(variables, {"params": state.ema})
  checkpoints.close()


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


def test_a_step_saved_without_metrics_is_saved_again_with_them(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(_state(3), CONFIG, None)
  checkpoints.save(_state(4), CONFIG, None)
  checkpoints.wait()
  assert not checkpoints.metrics(4)
  checkpoints.save(_state(4), CONFIG, {"bits_per_dim": 1.0})
  checkpoints.close()
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.metrics(4) == {"bits_per_dim": 1.0}
  restored = checkpoints.restore(4, _abstract(_state(0)))
  _assert_identical(restored, _state(4))
  checkpoints.close()


def _files(folder, step):
  step = folder / "checkpoints" / str(step)
  return sorted(p for p in step.rglob("*") if p.is_file() and p.stat().st_size)


def _read_newest(folder):
  checkpoints = Checkpoints(folder)
  try:
    return newest_intact(
      folder, lambda step: checkpoints.restore(step, _abstract(_state(0)))
    )
  finally:
    checkpoints.close()


# Orbax drops its other readers of a file that it cannot read, noisily.
unheard = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def collected():
  """Within the test, what it left behind is let go."""
  yield
  gc.collect()


@unheard
def test_an_older_checkpoint_stands_in_for_a_truncated_one(
  tmp_path, capsys, collected
):
  _save(tmp_path, {1: 1.0, 2: 1.0})

  def truncate():
    for path in _files(tmp_path, 2):
      if "params" in path.parts:
        path.write_bytes(path.read_bytes()[:-20])

  _assert_set_aside(tmp_path, truncate, capsys)
  damaged = tmp_path / "damaged"
  assert sorted(p.name for p in damaged.iterdir()) == ["2", "2-2"]
  assert _files(tmp_path, "../damaged/2")


def _assert_set_aside(workdir, truncate, capsys):
  """Step 2, twice: it goes out of the way of a new one, and is not lost."""
  for _ in range(2):
    truncate()
    step, state = _read_newest(workdir)
    assert step == 1
    _assert_identical(state, _state(1))
    assert "Step 2 in" in capsys.readouterr().out
    checkpoints = Checkpoints(workdir)
    checkpoints.set_aside(2)
    checkpoints.save(_state(2), CONFIG, {"bits_per_dim": 1.0})
    checkpoints.close()
    step, state = _read_newest(workdir)
    assert step == 2
    _assert_identical(state, _state(2))


# Of one array that is refused the others learn after Orbax has left.
@unheard
class TestBucket:
  def test_a_truncated_one_is_set_aside(self, bucket, capsys, collected):
    self._save("gs://bucket/truncated", {1: 1.0, 2: 1.0})

    saved = []

    def truncate():
      saved.append(self._names(bucket, "truncated/checkpoints/2/"))
      for name, there in list(bucket.objects.items()):
        if name.startswith("truncated/checkpoints/2/params/"):
          bucket.objects[name] = there._replace(content=there.content[:-20])

    _assert_set_aside("gs://bucket/truncated", truncate, capsys)
    for name, before in zip(("2", "2-2"), saved, strict=True):
      names = self._names(bucket, f"truncated/damaged/{name}/")
      assert names == before and "commit_success.txt" in names

  def test_one_that_is_not_whole_is_none(self, bucket):
    workdir = "gs://bucket/half"
    self._save(workdir, {1: 1.0, 2: 1.0})
    del bucket.objects["half/checkpoints/2/commit_success.txt"]
    assert saved_steps(workdir) == [1]
    checkpoints = Checkpoints(workdir)
    assert checkpoints.latest_step() == 1
    checkpoints.save(_state(2), CONFIG, {"bits_per_dim": 1.0})
    checkpoints.close()
    assert saved_steps(workdir) == [2, 1]
    assert _read_newest(workdir)[0] == 2

  def test_one_of_a_folder_may_be_copied_there(self, bucket, tmp_path):
    _save(tmp_path, {1: 1.0})
    storage.upload(tmp_path, "gs://bucket/copied")
    step, state = _read_newest("gs://bucket/copied")
    assert step == 1
    _assert_identical(state, _state(1))

  def test_what_cannot_be_written_is_one_line(
    self, bucket, monkeypatch, collected
  ):
    workdir = "gs://bucket/refused"
    self._save(workdir, {1: 1.0})
    checkpoints = Checkpoints(workdir)
    monkeypatch.setattr(bucket, "read_only", True)
    with pytest.raises(OSError, match="could not be written"):
      checkpoints.save(_state(2), CONFIG, None)
      checkpoints.close()
    monkeypatch.setattr(bucket, "read_only", False)
    assert _read_newest(workdir)[0] == 1

  def _save(self, workdir, bits):
    checkpoints = Checkpoints(workdir)
    for step, value in bits.items():
      checkpoints.save(_state(step), CONFIG, {"bits_per_dim": value})
    checkpoints.close()

  def _names(self, bucket, prefix):
    names = [n for n in bucket.objects if n.startswith(prefix)]
    return sorted(n.removeprefix(prefix) for n in names)


@unheard
def test_no_flipped_bit_goes_unseen(tmp_path, collected):
  """Either the content is what was saved, or it is not taken."""
  _save(tmp_path, {1: 1.0})
  random = np.random.default_rng(0)
  seen = 0
  for path in _files(tmp_path, 1):
    good = path.read_bytes()
    for _ in range(3):
      bad = bytearray(good)
      bad[random.integers(len(bad))] ^= 1 << random.integers(8)
      path.write_bytes(bad)
      try:
        _, state = _read_newest(tmp_path)
      except Damaged:
        seen += 1
      else:
        _assert_identical(state, _state(1))
    path.write_bytes(good)
  assert seen > 5
  assert _read_newest(tmp_path)[0] == 1


def test_what_decodes_but_differs_is_damaged(tmp_path, monkeypatch):
  _save(tmp_path, {1: 1.0})
  read = ocp.Checkpointer.restore

  def flip(self, *arguments, **options):
    restored = read(self, *arguments, **options)
    restored["optimizer"][0]["mu"]["w"] += 1e-3
    return restored

  monkeypatch.setattr(ocp.Checkpointer, "restore", flip)
  with pytest.raises(Damaged, match="saved: its optimizer have other"):
    _read_newest(tmp_path)


def test_a_config_that_cannot_be_read_is_damage(tmp_path):
  _save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "config" / "metadata"
  path.write_text(path.read_text()[:-3])
  with pytest.raises(Damaged, match="config of step 1"):
    newest_intact(tmp_path, lambda step: read_config(tmp_path, step))


_NO_ROOM = """
import resource, signal, sys
import jax.numpy as jnp
from cinn_jax.training.checkpoint import Checkpoints
from tests.training import test_checkpoint as t

checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(t._state(1), t.CONFIG, None)
checkpoints.wait()
# No file may grow further, as on a full disk.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
  checkpoints.save(t._state(2), t.CONFIG, None)
  checkpoints.wait()
except OSError as error:
  print(error)
"""


def test_a_full_disk_is_one_line_and_keeps_what_there_was(tmp_path):
  result = subprocess.run(
    [sys.executable, "-c", _NO_ROOM, str(tmp_path)],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  said = result.stdout.strip().splitlines()
  assert len(said) == 1 and "could not be written" in said[0], result
  assert "make room" in said[0]
  step, state = _read_newest(tmp_path)
  assert step == 1
  _assert_identical(state, _state(1))


def test_without_a_checkpoint_there_is_no_config(tmp_path):
  missing = tmp_path / "run"
  with pytest.raises(
    FileNotFoundError, match=r"No trained checkpoint in .*run"
  ):
    saved_steps(missing)
  assert not missing.exists()
  # What an interrupted save leaves behind is none either.
  (missing / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
  with pytest.raises(FileNotFoundError):
    saved_steps(missing)


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
    {"model.memory": "reversible"},
  ],
)
def test_length_logging_and_memory_may_change(run, change):
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
    (
      {"model.compute_dtype": "bfloat16"},
      "model.compute_dtype is 'bfloat16', was 'float32'",
    ),
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


def test_a_run_that_is_older_than_a_setting_goes_on(tmp_path):
  old = tiny.get_config().to_dict()
  for name in defaults.MODEL:
    del old["model"][name]
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(_state(3), old, {"bits_per_dim": 1.0})
  checkpoints.close()
  check_same_run(tmp_path, tiny.get_config().to_dict())


def test_an_empty_workdir_takes_any_run(tmp_path):
  check_same_run(tmp_path, tiny.get_config().to_dict())
