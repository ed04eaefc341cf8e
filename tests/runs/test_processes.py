"""Two processes of one run: one is stopped, killed, or misreads a file."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from cinn_jax.runtime import processes
from cinn_jax.training.stopping import RESTART
from cinn_jax.workdir.saved import saved_steps

ROOT = pathlib.Path(__file__).parents[2]


def _pair(command):
  """Starts two processes of `command(address, number)`."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  return [
    subprocess.Popen(
      [sys.executable, *command(address, k)],
      cwd=ROOT,
      env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for k in range(2)
  ]


@contextlib.contextmanager
def _started(workdir):
  """Runs the training command on two processes, and waits for some steps."""
  runs = _pair(
    lambda address, k: [
      "-m",
      "cinn_jax.main",
      "--config=tests/support/tiny.py:digits",
      f"--workdir={workdir}",
      "--config.train.num_steps=1000000",
      "--config.train.eval_every=1000000",
      f"--coordinator={address}",
      "--num_processes=2",
      f"--process_id={k}",
    ]
  )
  try:
    deadline = time.monotonic() + 300
    while not (workdir / "metrics.jsonl").exists():
      assert all(run.poll() is None for run in runs), runs[0].communicate()
      assert time.monotonic() < deadline
      time.sleep(0.1)
    yield runs
  finally:
    for run in runs:
      run.kill()


@pytest.mark.slow
def test_signal_to_one_stops_both_at_one_step(tmp_path):
  with _started(tmp_path) as runs:
    runs[1].send_signal(signal.SIGTERM)
    ended = [run.communicate(timeout=120) for run in runs]
  assert [run.returncode for run in runs] == [RESTART] * 2, ended
  [step] = os.listdir(tmp_path / "checkpoints")
  assert f"Saved step {int(step):,} of 1,000,000" in ended[0][0]
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] <= int(step)


@pytest.mark.slow
def test_first_process_ends_if_the_other_dies(tmp_path):
  with _started(tmp_path) as runs:
    runs[1].kill()
    runs[1].communicate()
    _, error = runs[0].communicate(timeout=200)
  assert runs[0].returncode == RESTART, error
  assert "Error: the processes lost each other (" in error


_CHECKPOINTS = """
import os, pathlib, sys, time
from cinn_jax.runtime import processes
workdir, address, number = sys.argv[1:]
processes.initialize(address, 2, int(number))
import jax
import orbax.checkpoint as ocp
from cinn_jax.runtime import sharding
from cinn_jax.training import start, stopping
from cinn_jax.workdir import checkpoint
from tests.support import checkpointing as t

place = sharding.replicated(sharding.make_mesh())
checkpoints = checkpoint.Checkpoints(workdir)

states = [
  jax.device_put(jax.device_get(t.state_at(step)), place) for step in (1, 2)
]
for state in states:
  checkpoints.save(state, t.CONFIG, None)
checkpoints.wait()
look = checkpoint.Checkpoints.metrics

def look_late(self, step):
  # Long after the other process would have added them.
  time.sleep(1)
  return look(self, step)

if number == "1":
  checkpoint.Checkpoints.metrics = look_late
checkpoints.save(states[1], t.CONFIG, {"bits_per_dim": 1.0})
metrics = look(checkpoints, 2)
print(f"process {number} has {metrics}", file=sys.stderr)
abstract = jax.tree.map(
  lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
  states[0],
)
read = ocp.Checkpointer.restore

def misread(self, path, *arguments, **options):
  if path.name == "2":
    raise OSError("only one process sees this")
  return read(self, path, *arguments, **options)

if number == "1":
  ocp.Checkpointer.restore = misread
state = start.restore_state(workdir, checkpoints, abstract)
print(f"process {number} has step {int(state.step)}", file=sys.stderr)
if number == "1":
  os._exit(9)
with stopping.exit_without_peers():
  checkpoints.save(states[1], t.CONFIG, {"bits_per_dim": 1.0})
"""


@pytest.fixture(scope="module")
def damaged_then_lost(tmp_path_factory):
  """Runs two processes: one misreads a checkpoint, then dies before a save."""
  workdir = tmp_path_factory.mktemp("pair")
  runs = _pair(
    lambda address, k: ["-c", _CHECKPOINTS, workdir, address, str(k)]
  )
  try:
    errors = [run.communicate(timeout=240)[1] for run in runs]
  finally:
    for run in runs:
      run.kill()
  return workdir, [run.returncode for run in runs], errors


def test_metrics_are_added_by_all_processes(damaged_then_lost):
  _, _, errors = damaged_then_lost
  for number in range(2):
    assert f"process {number} has {{'bits_per_dim': 1.0}}" in errors[number]


def test_checkpoint_one_cannot_read_is_damaged(damaged_then_lost):
  workdir, _, errors = damaged_then_lost
  for number in range(2):
    assert f"process {number} has step 1" in errors[number], errors[number]
  assert (workdir / "damaged" / "2").is_dir()


def test_lost_process_during_a_save_restarts(damaged_then_lost):
  workdir, codes, errors = damaged_then_lost
  assert codes == [RESTART, 9], errors
  assert "Error: the processes lost each other (" in errors[0]
  # Checkpoint 1 is intact, and 2 is not there.
  assert saved_steps(workdir) == [1]


@pytest.mark.parametrize(
  "given, message",
  [
    (("localhost:1", 2, None), "go together"),
    ((None, 2, None), "go together"),
    (("localhost:1", 2, 2), "--process_id is 2, expected 0 to 1"),
  ],
)
def test_bad_flags_raise(given, message):
  with pytest.raises(ValueError, match=message):
    processes.initialize(*given)


@pytest.mark.parametrize(
  "variables, expected",
  [
    ({}, False),
    ({"SLURM_STEP_NUM_TASKS": "1"}, False),
    # A batch script outside of srun is one process, whatever its tasks.
    ({"SLURM_NTASKS": "8"}, False),
    ({"SLURM_STEP_NUM_TASKS": "2"}, True),
    ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
    ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
    ({"TPU_WORKER_HOSTNAMES": "t0,t1"}, True),
  ],
)
def test_clusters_are_detected(variables, expected, monkeypatch):
  calls = []
  monkeypatch.setattr(
    processes.jax.distributed, "initialize", lambda: calls.append(1)
  )
  for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.delenv("TPU_WORKER_HOSTNAMES", raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  processes.initialize()
  assert bool(calls) == expected
