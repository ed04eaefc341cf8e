"""Runs tests/exact in a separate process, in float64."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent / "exact"


@pytest.mark.parametrize(
  "marker, min_passed",
  [("not slow", 390), pytest.param("slow", 190, marks=pytest.mark.slow)],
)
def test_exact_checks_pass_in_float64(marker, min_passed):
  environment = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("PYTEST_")
  }
  result = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    + ["-m", marker, str(FOLDER)],
    env={**environment, "JAX_ENABLE_X64": "1"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  passed = re.search(r"(\d+) passed", result.stdout)
  assert passed and int(passed.group(1)) >= min_passed, result.stdout
