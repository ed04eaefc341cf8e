"""Signals end a run early, with everything saved; a stalled one ends too."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.evaluation.validation import Validator
from cinn_jax.training import monitor, stopping
from cinn_jax.training.stopping import (
  RESTART,
  Stop,
  Stopped,
  lost_peer,
)
from cinn_jax.training.train import train
from tests.support import tiny
from tests.support.signals import signal_once

ROOT = pathlib.Path(__file__).parents[2]


def _config():
  return tiny.digits(
    num_steps=5, log_every=2, eval_every=2, sheet_every=9, batch_size=16
  )


def _left(workdir):
  """Validation rows and the parameters that a run left."""
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  rows = [row for row in lines if row["split"] == "validation"]
  return rows, jax.tree.leaves(cinn_jax.load(workdir)[1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "uninterrupted"
  train(_config(), workdir)
  return _left(workdir)


@pytest.mark.parametrize(
  "step, number", [(3, signal.SIGTERM), (2, signal.SIGINT), (5, signal.SIGTERM)]
)
def test_a_signal_saves_the_step_and_no_work_is_lost(
  step, number, uninterrupted, tmp_path, monkeypatch, capfd
):
  signal_once(
    monkeypatch,
    *(monitor.Monitor, "add", number),
    lambda at, metrics: at == step,
  )
  with pytest.raises(Stopped, match=f"Saved step {step} of 5 in"):
    train(_config(), tmp_path)
  assert "finishing the step" in capfd.readouterr().err
  assert (tmp_path / "checkpoints" / str(step)).is_dir()
  train(_config(), tmp_path)
  rows, leaves = _left(tmp_path)
  # Those of the steps at which it left, 2 and 5, too.
  assert rows == uninterrupted[0]
  for resumed, expected in zip(leaves, uninterrupted[1], strict=True):
    np.testing.assert_array_equal(resumed, expected)


def test_validation_is_left_in_the_middle(uninterrupted, tmp_path, monkeypatch):
  signal_once(monkeypatch, Validator, "score", signal.SIGTERM)
  with pytest.raises(Stopped, match="Saved step 2 of 5"):
    train(_config(), tmp_path)
  assert not (tmp_path / "metrics.jsonl").read_text().count("validation")
  train(_config(), tmp_path)
  assert _left(tmp_path)[0] == uninterrupted[0]


def test_handlers_are_as_before_afterwards():
  before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
  with Stop():
    assert signal.getsignal(signal.SIGTERM) != before[1]
  after = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
  assert after == before


def test_before_the_first_step_a_signal_leaves_at_once():
  with Stop(), pytest.raises(Stopped, match="SIGTERM before the first step"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)


def test_a_second_ctrl_c_leaves_at_once():
  with Stop() as stop:
    stop.defer()
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.requested(1)
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(1)


_STALLED = """
import time
from cinn_jax.training.stopping import Watchdog
with Watchdog(0.03) as watchdog:
  time.sleep(2.5)  # Nothing is expected before the first beat.
  for _ in range(4):
    time.sleep(0.3)
    watchdog.beat()
  print("alive", flush=True)
  time.sleep(60)
"""


def test_a_stalled_run_ends_to_be_started_again():
  begin = time.monotonic()
  result = subprocess.run(
    [sys.executable, "-c", _STALLED], cwd=ROOT, capture_output=True, text=True
  )
  assert result.returncode == RESTART
  assert result.stdout == "alive\n"
  assert "no step for 0.0 minutes" in result.stderr
  assert time.monotonic() - begin < 50


def test_the_command_ends_with_75_on_sigterm(tmp_path):
  with subprocess.Popen(
    [
      *(
        sys.executable,
        "-m",
        "cinn_jax.main",
        "--config=tests/support/tiny.py:digits",
      ),
      *(f"--workdir={tmp_path}", "--config.train.num_steps=1000000"),
      "--config.train.eval_every=1000000",
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as run:
    while not (tmp_path / "metrics.jsonl").exists():
      assert run.poll() is None
      time.sleep(0.1)
    run.terminate()
    out, _ = run.communicate()
  assert run.returncode == 75
  assert "the same command resumes from there" in out.splitlines()[-1]


def _raised(error, cause=None):
  try:
    raise error from cause
  except Exception as caught:
    return caught


_LOST = "UNKNOWN: Gloo AllGather failed: Connection closed by peer"


@pytest.mark.parametrize(
  "error, count, lost",
  [
    (jax.errors.JaxRuntimeError(_LOST), 2, True),
    (ValueError(_LOST), 2, True),
    (_raised(RuntimeError("a thread failed"), ValueError(_LOST)), 2, True),
    (ValueError(_LOST), 1, False),
    (ValueError("the batch does not divide"), 2, False),
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: memory"), 2, False),
    (ValueError("UNKNOWN: no access [tensorstore_spec='']"), 2, False),
  ],
)
def test_lost_processes_are_told_from_errors(error, count, lost, monkeypatch):
  monkeypatch.setattr(stopping.jax, "process_count", lambda: count)
  assert (lost_peer(error) is not None) == lost
