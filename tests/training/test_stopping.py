"""A signal ends a run early and saves it; a watchdog ends a stalled run."""

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


def _results(workdir):
  """Returns the validation rows and the parameters of a run."""
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  rows = [row for row in lines if row["split"] == "validation"]
  return rows, jax.tree.leaves(cinn_jax.load(workdir)[1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "uninterrupted"
  train(_config(), workdir)
  return _results(workdir)


@pytest.mark.parametrize(
  "step, number",
  [
    (2, signal.SIGINT),
    pytest.param(3, signal.SIGTERM, marks=pytest.mark.slow),
    pytest.param(5, signal.SIGTERM, marks=pytest.mark.slow),
  ],
)
def test_signal_saves_the_step(
  step, number, uninterrupted, tmp_path, monkeypatch, capfd
):
  signal_once(
    monkeypatch,
    monitor.Monitor,
    "add",
    number,
    lambda latest, metrics: latest == step,
  )
  with pytest.raises(Stopped, match=f"Saved step {step} of 5 in"):
    train(_config(), tmp_path)
  assert "finishing the step" in capfd.readouterr().err
  assert (tmp_path / "checkpoints" / str(step)).is_dir()
  train(_config(), tmp_path)
  rows, leaves = _results(tmp_path)
  # Steps 2 and 5 are validated too, although the run stopped there.
  assert rows == uninterrupted[0]
  for resumed, expected in zip(leaves, uninterrupted[1], strict=True):
    np.testing.assert_array_equal(resumed, expected)


def test_signal_interrupts_validation(uninterrupted, tmp_path, monkeypatch):
  signal_once(monkeypatch, Validator, "score", signal.SIGTERM)
  with pytest.raises(Stopped, match="Saved step 2 of 5"):
    train(_config(), tmp_path)
  assert not (tmp_path / "metrics.jsonl").read_text().count("validation")
  train(_config(), tmp_path)
  assert _results(tmp_path)[0] == uninterrupted[0]


def test_stop_restores_signal_handlers():
  before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
  with Stop():
    assert signal.getsignal(signal.SIGTERM) != before[1]
  after = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
  assert after == before


def test_signal_before_the_first_step_ends_at_once():
  with Stop(), pytest.raises(Stopped, match="SIGTERM before the first step"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)


def test_second_ctrl_c_ends_at_once():
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
  time.sleep(2.5)  # The clock starts with the first beat.
  for _ in range(4):
    time.sleep(0.3)
    watchdog.beat()
  print("alive", flush=True)
  time.sleep(60)
"""


def test_watchdog_ends_a_stalled_run():
  begin = time.monotonic()
  result = subprocess.run(
    [sys.executable, "-c", _STALLED], cwd=ROOT, capture_output=True, text=True
  )
  assert result.returncode == RESTART
  assert result.stdout == "alive\n"
  assert "no step for 0.0 minutes" in result.stderr
  assert time.monotonic() - begin < 50


def test_command_exits_with_75_on_sigterm(tmp_path):
  with subprocess.Popen(
    [
      sys.executable,
      "-m",
      "cinn_jax.main",
      "--config=tests/support/tiny.py:digits",
      f"--workdir={tmp_path}",
      "--config.train.num_steps=1000000",
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
def test_lost_peer_is_not_any_error(error, count, lost, monkeypatch):
  monkeypatch.setattr(stopping.jax, "process_count", lambda: count)
  assert (lost_peer(error) is not None) == lost
