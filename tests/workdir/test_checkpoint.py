"""A saved state is restored exactly, or one line says why not."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import read_config, saved_steps
from tests.support.checkpointing import (
  CONFIG,
  abstract,
  assert_identical,
  read_newest,
  save,
  state_at,
)


def test_round_trip(tmp_path):
  save(tmp_path, {7: 1.5})
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.latest_step() == 7
  restored = checkpoints.restore(7, abstract(state_at(0)))
  assert_identical(restored, state_at(7))
  assert restored.step.dtype == jnp.int32
  variables = checkpoints.restore_variables(
    7, abstract(state_at(0).ema_variables)
  )
  assert_identical(variables, state_at(7).ema_variables)
  assert checkpoints.metrics(7) == {"bits_per_dim": 1.5}
  checkpoints.close()
  assert saved_steps(tmp_path) == [7]
  assert read_config(tmp_path, 7) == json.loads(json.dumps(CONFIG))


@pytest.mark.parametrize("skipped", [0, 3])
def test_steps_skipped_in_a_row_are_restored(skipped, tmp_path):
  state = state_at(3)._replace(skipped=jnp.int32(skipped))
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, CONFIG, None)
  checkpoints.close()
  items = {path.name for path in (tmp_path / "checkpoints" / "3").iterdir()}
  assert ("skipped" in items) == bool(skipped)
  assert_identical(read_newest(tmp_path), (3, state))


def test_round_trip_without_constants(tmp_path):
  state = state_at(7)
  state = state._replace(fit=state.fit._replace(constants={}))
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, CONFIG, {"bits_per_dim": 1.5})
  checkpoints.wait()
  assert_identical(checkpoints.restore(7, abstract(state)), state)
  variables = checkpoints.restore_variables(7, abstract(state.ema_variables))
  assert_identical(variables, {"params": state.ema})
  checkpoints.close()


def test_without_an_average_parameters_replace_it(tmp_path):
  with_average = state_at(7)
  state = with_average._replace(ema=None)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, CONFIG, None)
  checkpoints.wait()
  assert not (tmp_path / "checkpoints" / "7" / "ema").exists()
  assert_identical(checkpoints.restore(7, abstract(state)), state)
  variables = checkpoints.restore_variables(7, abstract(state.ema_variables))
  assert_identical(variables, state.ema_variables)
  # A resumed run that keeps an average starts it there.
  restored = checkpoints.restore(7, abstract(with_average))
  assert_identical(restored, state._replace(ema=state.fit.params))
  # A resumed run that keeps none ignores it.
  checkpoints.save(state_at(8), CONFIG, None)
  checkpoints.wait()
  restored = checkpoints.restore(8, abstract(state))
  assert_identical(restored, state_at(8)._replace(ema=None))
  checkpoints.close()


def test_state_may_be_donated_while_it_is_saved(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  state = state_at(7)
  checkpoints.save(state, CONFIG, {"bits_per_dim": 1.5})
  jax.tree.map(lambda leaf: leaf.delete(), state)
  checkpoints.wait()
  restored = checkpoints.restore(7, abstract(state_at(0)))
  assert_identical(restored, state_at(7))
  checkpoints.close()


def test_keeps_the_two_newest_and_the_best(tmp_path):
  assert save(tmp_path, {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: 2.0}) == [2, 4, 5]


def test_resumed_run_keeps_the_best(tmp_path):
  save(tmp_path, {1: 1.0, 2: 3.0})
  assert save(tmp_path, {3: 2.0, 4: 2.5, 5: 2.0}) == [1, 4, 5]
  # A better one replaces it.
  assert save(tmp_path, {6: 0.5, 7: 2.5, 8: 2.0, 9: 1.5}) == [6, 8, 9]


def test_adds_metrics_to_a_saved_step(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state_at(3), CONFIG, None)
  checkpoints.save(state_at(4), CONFIG, None)
  checkpoints.wait()
  assert not checkpoints.metrics(4)
  checkpoints.save(state_at(4), CONFIG, {"bits_per_dim": 1.0})
  assert checkpoints.metrics(4) == {"bits_per_dim": 1.0}
  # They are not overwritten, and decide which step is best.
  checkpoints.save(state_at(4), CONFIG, {"bits_per_dim": 9.0})
  checkpoints.save(state_at(5), CONFIG, {"bits_per_dim": 3.0})
  checkpoints.save(state_at(6), CONFIG, None)
  checkpoints.save(state_at(7), CONFIG, None)
  checkpoints.close()
  assert saved_steps(tmp_path) == [7, 6, 4]
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.metrics(4) == {"bits_per_dim": 1.0}
  restored = checkpoints.restore(4, abstract(state_at(0)))
  assert_identical(restored, state_at(4))
  checkpoints.close()


def test_adds_metrics_in_a_bucket(bucket):
  workdir = "gs://bucket/validated-later"
  for metrics in (None, {"bits_per_dim": 1.0}):
    checkpoints = Checkpoints(workdir)
    checkpoints.save(state_at(3), CONFIG, metrics)
    checkpoints.close()
  checkpoints = Checkpoints(workdir)
  assert checkpoints.metrics(3) == {"bits_per_dim": 1.0}
  restored = checkpoints.restore(3, abstract(state_at(0)))
  assert_identical(restored, state_at(3))
  checkpoints.close()


_NO_ROOM = """
import resource, signal, sys
import jax.numpy as jnp
from cinn_jax.workdir.checkpoint import Checkpoints
from tests.support import checkpointing

checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(checkpointing.state_at(1), checkpointing.CONFIG, None)
checkpoints.wait()
state = checkpointing.state_at(1 if sys.argv[2] else 2)
metrics = {"bits_per_dim": 1.0} if sys.argv[2] else None
# No file may grow, as on a full disk.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
  checkpoints.save(state, checkpointing.CONFIG, metrics)
  checkpoints.wait()
except OSError as error:
  print(error)
"""


@pytest.mark.parametrize("same_step", ["", "with metrics"])
def test_full_disk_keeps_earlier_checkpoints(tmp_path, same_step):
  result = subprocess.run(
    [sys.executable, "-c", _NO_ROOM, str(tmp_path), same_step],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  lines = result.stdout.strip().splitlines()
  assert len(lines) == 1 and "could not be written" in lines[0], result
  assert "make room" in lines[0]
  step, state = read_newest(tmp_path)
  assert step == 1
  assert_identical(state, state_at(1))


def test_workdir_without_checkpoints_raises(tmp_path):
  missing = tmp_path / "run"
  with pytest.raises(
    FileNotFoundError, match=r"No trained checkpoint in .*run"
  ):
    saved_steps(missing)
  assert not missing.exists()
  # What an interrupted save leaves behind does not count.
  (missing / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
  with pytest.raises(FileNotFoundError):
    saved_steps(missing)


def test_only_the_run_removes_interrupted_saves(tmp_path):
  save(tmp_path, {7: 1.5})
  left = tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp"
  left.mkdir()
  Checkpoints(tmp_path).close()
  assert left.exists()
  run = Checkpoints(tmp_path, clean=True)
  run.save(state_at(8), CONFIG, None)  # Waits for the removal.
  run.close()
  assert not left.exists() and saved_steps(tmp_path) == [8, 7]
