"""`--mode=status` of new, running and finished runs."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from cinn_jax.training.train import train
from cinn_jax.workdir.lock import hold_lock
from cinn_jax.workdir.status import status
from tests.support import tiny

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("status") / "run"
  config = tiny.digits(
    num_steps=4, log_every=2, eval_every=2, sheet_every=9, batch_size=16
  )
  train(config, path)
  return path


def _lines(workdir):
  return dict(line.split(maxsplit=1) for line in status(workdir).splitlines())


def test_finished_run(workdir):
  lines = _lines(workdir)
  assert lines["run"].startswith("not running; last was process ")
  assert lines["step"].startswith("4, ") and "images/s" in lines["step"]
  assert lines["saved"].startswith("step 4 of 4; 0:")
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  bits = {
    row["step"]: row["bits_per_dim"]
    for row in rows
    if row["split"] == "validation"
  }
  best = min(bits, key=bits.get)
  assert f"{bits[best]:.4f} at step {best}; last {bits[4]:.4f}" in lines["best"]


def test_live_run(workdir):
  with hold_lock(workdir):
    assert _lines(workdir)["run"].startswith("alive, process ")


def test_run_before_its_first_step(tmp_path):
  with hold_lock(tmp_path):
    lines = _lines(tmp_path)
  assert lines["run"].startswith("alive, process ")
  assert lines["step"] == "nothing logged yet"
  assert lines["saved"] == "nothing yet"


def test_run_without_a_checkpoint(workdir, tmp_path):
  [first, *_] = (workdir / "metrics.jsonl").read_text().splitlines()
  # The last line is still being written.
  (tmp_path / "metrics.jsonl").write_text(first + '\n{"step": 3, "spl')
  lines = _lines(tmp_path)
  assert lines["saved"] == "nothing yet" and lines["step"].startswith("2, ")
  assert "best" not in lines


def test_empty_folder_raises(tmp_path):
  with pytest.raises(FileNotFoundError, match="No run in"):
    status(tmp_path)


@pytest.mark.parametrize(
  "arguments, code, message",
  [
    (["--mode=status"], 1, "--config=FILE.py is needed, or --workdir"),
    (["--mode=train", "--workdir=x"], 1, "--mode=train needs --config=FILE.py"),
    (["--mode=status", "--workdir=README.md"], 1, "is an exported file"),
    (["--mode=status", "--workdir={}"], 0, "saved step 4 of 4"),
  ],
)
def test_command(arguments, code, message, workdir):
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main"]
    + [argument.format(workdir) for argument in arguments],
    capture_output=True,
    text=True,
  )
  assert result.returncode == code
  assert message in result.stdout + result.stderr
  assert "Traceback" not in result.stderr


def test_opens_no_device(workdir):
  """Checks that status works while the run holds all devices."""
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", "--mode=status"]
    + [f"--workdir={workdir}"],
    env={**os.environ, "JAX_PLATFORMS": "nonesuch"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr


def test_default_workdir_has_no_commas(tmp_path):
  def error():
    result = subprocess.run(
      [sys.executable, "-m", "cinn_jax.main", "--mode=status"]
      + [f"--config={ROOT}/configs/super_resolution.py:caflow,scale=4"],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
    assert result.returncode == 1
    return result.stderr

  assert "No run in workdirs/super_resolution-caflow-scale=4 has" in error()
  # A run of an earlier version is found under its old name.
  (tmp_path / "workdirs" / "super_resolution-caflow,scale=4").mkdir(
    parents=True
  )
  assert "No run in workdirs/super_resolution-caflow,scale=4 has" in error()
