"""What holds for every launch script."""

import os
import pathlib
import shutil
import subprocess

import pytest

from tests.support.launcher import BASH, ROOT

FOLDER = ROOT / "launch"
SCRIPTS = sorted([*FOLDER.glob("*.sh"), *FOLDER.glob("*.sbatch")])
COMMANDS = [path for path in SCRIPTS if path.name != "shell.sh"]


def by_name(paths):
  return pytest.mark.parametrize("script", paths, ids=lambda path: path.name)


def test_all_are_found():
  names = {"k8s.sh", "local.sh", "slurm.sbatch", "tpu.sh", "tpu_worker.sh"}
  assert names < {path.name for path in SCRIPTS}


@by_name(SCRIPTS)
def test_syntax(script):
  subprocess.run([BASH, "-n", script], check=True)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
@by_name(SCRIPTS)
def test_shellcheck(script):
  command = ["shellcheck", "--external-sources", script]
  subprocess.run(command, check=True, cwd=ROOT)


@by_name(COMMANDS)
def test_it_is_a_command_and_explains_itself(script):
  # sbatch takes a copy of its script; the others are run as they are.
  assert os.access(script, os.X_OK) or script.suffix == ".sbatch"
  said = subprocess.run(
    [BASH, script, "--help"],
    check=True,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert f"launch/{script.name}" in said.stdout and not said.stderr
  assert "#" not in {line[:1] for line in said.stdout.splitlines()}


def test_the_guide_names_each_file_and_no_other():
  words = (FOLDER / "README.md").read_text().replace("`", " ").split()
  named = {word for word in words if word.startswith("launch/")}
  named = {pathlib.PurePath(word.strip(".,:;()|")).name for word in named}
  assert named <= {path.name for path in FOLDER.iterdir()}
  assert {path.name for path in COMMANDS} - {"tpu_worker.sh"} <= named
