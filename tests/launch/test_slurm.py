"""launch/slurm.sbatch under a fake Slurm."""

import os
import shutil
import signal
import sys

import pytest

from tests.support.launcher import ARGUMENTS, Project, parse

# Prints srun's messages about its tasks, and exits with the highest code.
SRUN = """
echo ready
echo "srun: error: $MESSAGES" >&2
sleep "${SECONDS_TO_END:-0}"
exit "${SRUN_CODE:-0}"
"""

# Starts two tasks on this machine, as Slurm does.
TWO_TASKS = """
while [[ "$1" == --* ]]; do shift; done
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
wait "$first" && wait "$second"
"""

# Writes to a file, since the transport's messages may break up a printed line.
PROGRAM = """
import pathlib, sys
import jax
from jax.experimental import multihost_utils

jax.distributed.initialize()
mine = jax.numpy.full(1, 10.0 + jax.process_index())
ours = multihost_utils.process_allgather(mine, tiled=True)
file = pathlib.Path(sys.argv[1], str(jax.process_index()))
file.write_text(f"{jax.process_count()} {jax.device_count()} {ours.tolist()}")
"""


@pytest.fixture
def slurm(tmp_path):
  project = Project(tmp_path, "slurm.sbatch")
  project.fake("srun", SRUN)
  project.fake("scontrol")
  # Slurm runs a copy in its own folder.
  copy = tmp_path / "spool" / "slurm_script"
  copy.parent.mkdir()
  shutil.copy(project.script, copy)
  project.script = copy
  project.env |= {
    "SLURM_JOB_ID": "1234",
    "SLURM_SUBMIT_DIR": str(project.root),
    "SLURM_CPUS_PER_TASK": "6",
    "MESSAGES": "",
  }
  return project


SAVED = "n1: task 0: Exited with exit code 75"
ERROR = "n1: task 1: Exited with exit code 1"
ABORTED = "n1: task 1: Aborted"


@pytest.mark.parametrize(
  ("srun_code", "messages", "restarts", "code", "requeued"),
  [
    (0, [], 0, 0, False),
    (75, [], 0, 75, True),
    (75, [], 3, 75, False),
    (1, [], 0, 1, False),
    (134, [], 0, 134, False),
    # Processes that JAX aborts because another left do not count.
    (134, [SAVED, ABORTED], 0, 75, True),
    # An error next to 75 is an error.
    (75, [SAVED, ERROR], 0, 1, False),
  ],
)
def test_only_75_is_requeued(
  slurm, srun_code, messages, restarts, code, requeued
):
  ended, _, err = slurm.run(
    "train",
    SRUN_CODE=str(srun_code),
    MESSAGES="\n".join(messages),
    SLURM_RESTART_COUNT=str(restarts),
    MAX_RESTARTS="3",
  )
  assert ended == code and all(message in err for message in messages)
  srun, *requeue = slurm.calls()
  assert srun[0] == "srun"
  assert requeue == [["scontrol", "requeue", "1234"]] * requeued
  assert ("gave up after 3 restarts" in err) == (restarts == 3)


def test_a_signal_prevents_the_requeue(slurm):
  call = slurm.start("train", SRUN_CODE="75", SECONDS_TO_END="0.5")
  assert call.stdout.readline() == "ready\n"
  os.kill(call.pid, signal.SIGTERM)
  call.communicate(timeout=20)
  assert call.returncode == 75 and len(slurm.calls()) == 1


def test_the_environment_is_made_before_the_tasks(slurm):
  assert slurm.run("train", PIP_FAILS="1")[0] == 1 and not slurm.calls()
  slurm.fake("srun", 'echo "$VIRTUAL_ENV"; command -v python')
  out = slurm.run("train")[1]
  assert out == f"{slurm.venv}\n{slurm.venv}/bin/python\n"
  # Once made, it needs no network.
  made = slurm.made()
  assert slurm.run("train", PIP_FAILS="1", VENV_FAILS="1")[0] == 0
  assert slurm.made() == made


def test_dry_run_prints_what_would_run(slurm):
  _, dry, _ = slurm.run("--dry-run", "train", *ARGUMENTS)
  assert not slurm.calls() and not slurm.made()
  slurm.run("train", *ARGUMENTS, SRUN_CODE="75")
  local, srun, requeue = parse(dry)
  assert local == [str(slurm.root / "launch" / "local.sh"), "true"]
  requeue = [word.replace("$SLURM_JOB_ID", "1234") for word in requeue]
  assert slurm.calls() == [srun, requeue]
  assert srun[-len(ARGUMENTS) - 1 :] == ["train", *ARGUMENTS]
  assert f"--output={slurm.root}/slurm-%j-%t.log" in srun
  assert {"--cpus-per-task=6", "--wait=300", "--kill-on-bad-exit=0"} < set(srun)


def test_two_processes_find_each_other(slurm):
  slurm.fake("srun", TWO_TASKS)
  program = slurm.root / "program.py"
  program.write_text(PROGRAM)
  slurm.env |= {
    # JAX's port is 61440 and this number.
    "SLURM_JOB_ID": str(os.getpid() % 4096),
    "JAX_PLATFORMS": "cpu",
    "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
  }
  code, _, err = slurm.run(sys.executable, str(program), str(slurm.root))
  assert code == 0, err
  for task in ("0", "1"):
    assert (slurm.root / task).read_text() == "2 2 [10.0, 11.0]"
