""".ci/run and the public workflow."""

import shutil

import pytest
import yaml

from tests.support.launcher import ROOT

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
def test_the_newest_and_the_oldest_python(project, pythons, fails, code):
  (project.root / "launch" / "local.sh").write_text(LOCAL)
  (project.root / ".ci").mkdir()
  project.script = project.root / ".ci" / "run"
  shutil.copy(ROOT / ".ci" / "run", project.script)
  # Otherwise one may be installed.
  project.fake("chromium")
  result = project.run(PYTHON=None, PYTHONS=pythons, FAILS=fails)
  newest, *others = pythons.split()
  assert result[0] == code
  runs = [line for line in result[1].splitlines() if "arguments" in line]
  # All tests, and the page in a browser: -m slow tests/page.
  assert runs[:2] == [f"{newest}: 0 arguments", f"{newest}: 3 arguments"]
  assert [run.split(":")[0] for run in runs[2:]] == others[-1:]
  assert ("only one Python" in result[1]) == (not others)


def test_the_selection_exists():
  text = (ROOT / ".ci" / "run").read_text()
  selection = [word for word in text.split() if word.startswith("tests/")]
  assert selection and all((ROOT / path).exists() for path in selection)


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
