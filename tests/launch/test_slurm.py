"""launch/slurm.sbatch under a Slurm that only pretends."""

import os
import shutil
import signal
import socket
import sys

import pytest

from tests.support.fakes import ARGUMENTS, Project, parse

# Says what srun says of its tasks, and ends with the highest of their codes.
SRUN = """
for message in $TASKS_SAY; do echo "srun: error: ${message//_/ }" >&2; done
exit "${SRUN_CODE:-0}"
"""

# Two tasks on this machine, as Slurm starts them.
TWO_TASKS = """
while [[ "$1" == --* ]]; do shift; done
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
wait "$first" && wait "$second"
"""

# Says it in a file: what the transport prints may cut into any line.
PROGRAM = """
import pathlib
import sys

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

jax.distributed.initialize()
mine = jnp.full(1, 10.0 + jax.process_index())
ours = multihost_utils.process_allgather(mine, tiled=True)
said = pathlib.Path(sys.argv[1], str(jax.process_index()))
said.write_text(f"{jax.process_count()} {jax.device_count()} {ours.tolist()}")
"""


@pytest.fixture
def slurm(tmp_path):
  project = Project(tmp_path, "slurm.sbatch")
  project.fake("srun", SRUN)
  project.fake("scontrol")
  # Slurm runs a copy, from its own folder.
  copy = tmp_path / "spool" / "slurm_script"
  copy.parent.mkdir()
  shutil.copy(project.script, copy)
  copy.chmod(0o755)
  project.script = copy
  project.env |= {
    "SLURM_JOB_ID": "1234",
    "SLURM_SUBMIT_DIR": str(project.root),
    "SLURM_CPUS_PER_TASK": "6",
    "TASKS_SAY": "",
  }
  return project


def names(project):
  return [name for name, *_ in project.calls()]


class TestJob:
  def test_it_ends_with_the_training(self, slurm):
    assert slurm.run("train")[0] == 0
    assert names(slurm) == ["srun"]

  def test_75_is_requeued(self, slurm):
    code, _, err = slurm.run("train", SRUN_CODE="75")
    assert code == 75 and "requeueing" in err
    assert slurm.calls()[1:] == [["scontrol", "requeue", "1234"]]

  @pytest.mark.parametrize("end", ["1", "2", "134"])
  def test_errors_are_not(self, slurm, end):
    assert slurm.run("train", SRUN_CODE=end)[0] == int(end)
    assert names(slurm) == ["srun"]

  def test_what_is_aborted_since_another_left_does_not_count(self, slurm):
    say = "n1:_task_0:_Exited_with_exit_code_75 n1:_task_1:_Aborted"
    code, _, err = slurm.run("train", SRUN_CODE="134", TASKS_SAY=say)
    assert code == 75 and names(slurm) == ["srun", "scontrol"]
    assert "task 1: Aborted" in err

  def test_an_error_beside_75_is_an_error(self, slurm):
    say = "n1:_task_0:_Exited_with_exit_code_1 n1:_tasks_1-3:_Exited_with_"
    say += "exit_code_75"
    assert slurm.run("train", SRUN_CODE="75", TASKS_SAY=say)[0] == 1
    assert names(slurm) == ["srun"]

  def test_restarts_end(self, slurm):
    how = {"SRUN_CODE": "75", "MAX_RESTARTS": "3", "SLURM_RESTART_COUNT": "3"}
    code, _, err = slurm.run("train", **how)
    assert code == 75 and "gave up after 3 restarts" in err
    assert names(slurm) == ["srun"]

  def test_one_that_is_told_to_end_is_not_requeued(self, slurm):
    slurm.fake("srun", "echo ready\nsleep 0.5\nexit 75")
    call = slurm.start("train")
    assert call.stdout.readline() == "ready\n"
    os.kill(call.pid, signal.SIGTERM)
    call.communicate(timeout=20)
    assert call.returncode == 75 and names(slurm) == ["srun"]

  def test_arguments_survive(self, slurm):
    slurm.run("train", *ARGUMENTS)
    assert slurm.calls()[0][-len(ARGUMENTS) - 1 :] == ["train", *ARGUMENTS]


class TestEnvironment:
  def test_it_is_made_before_the_tasks_and_theirs(self, slurm):
    slurm.fake("srun", 'echo "$VIRTUAL_ENV"; command -v python')
    _, out, err = slurm.run("train")
    expected = [str(slurm.venv), str(slurm.venv / "bin" / "python")]
    assert out.splitlines() == expected
    assert "Making" in err and slurm.made()[0] == "venv"

  def test_once_made_the_network_is_not_asked(self, slurm):
    slurm.run("train")
    made = slurm.made()
    slurm.run("train", PIP_FAILS="1", VENV_FAILS="1")
    assert slurm.made() == made and names(slurm) == ["srun", "srun"]

  def test_nothing_starts_without_it(self, slurm):
    assert slurm.run("train", PIP_FAILS="1")[0] == 1
    assert not slurm.calls()


class TestOptions:
  def test_dry_run_says_what_is_run(self, slurm):
    _, dry, _ = slurm.run("--dry-run", "train", *ARGUMENTS)
    assert not slurm.calls() and not slurm.made()
    slurm.run("train", *ARGUMENTS, SRUN_CODE="75")
    local, srun, requeue = parse(dry)
    assert local == [str(slurm.root / "launch" / "local.sh"), "true"]
    requeue = [word.replace("$SLURM_JOB_ID", "1234") for word in requeue]
    assert slurm.calls() == [srun, requeue]

  def test_each_task_logs_to_its_own_file(self, slurm):
    slurm.run("train", LOGS="/logs of mine")
    assert "--output=/logs of mine/slurm-%j-%t.log" in slurm.calls()[0]
    assert "--cpus-per-task=6" in slurm.calls()[0]

  def test_help_leaves_the_directives_out(self, slurm):
    code, out, _ = slurm.run("--help", SLURM_JOB_ID=None)
    assert code == 0 and "one process per GPU" in out and "#SBATCH" not in out

  @pytest.mark.parametrize(
    ("words", "env", "says"),
    [
      ([], {}, "usage: sbatch launch/slurm.sbatch COMMAND"),
      (["--dri-run", "x"], {}, "unknown option --dri-run"),
      (["x"], {"SLURM_JOB_ID": None}, "not in a Slurm job; submit it"),
      (["x"], {"SLURM_SUBMIT_DIR": "/"}, "/ is not the project's folder"),
    ],
  )
  def test_what_is_missing_is_said_in_a_line(self, slurm, words, env, says):
    assert says in slurm.refusal(*words, **env)
    assert not slurm.calls()


def test_two_processes_find_each_other(slurm):
  port = free_port()
  slurm.fake("srun", TWO_TASKS)
  program = slurm.root / "program.py"
  program.write_text(PROGRAM)
  # JAX makes its port of the job's number.
  call = slurm.start(
    sys.executable,
    str(program),
    str(slurm.root),
    SLURM_JOB_ID=str(port - 61440),
    JAX_PLATFORMS="cpu",
    JAX_CPU_COLLECTIVES_IMPLEMENTATION="gloo",
  )
  _, err = call.communicate(timeout=100)
  assert call.returncode == 0, err
  for task in ("0", "1"):
    assert (slurm.root / task).read_text() == "2 2 [10.0, 11.0]"


def free_port():
  """One of the 4096 that JAX takes on Slurm."""
  for port in range(61440 + os.getpid() % 2048, 65536):
    with socket.socket() as listener:
      if listener.connect_ex(("localhost", port)) != 0:
        return port
  raise AssertionError("no free port")
