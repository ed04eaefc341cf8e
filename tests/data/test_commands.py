"""Tests of the commands that prepare folders and TFDS data sets."""

import subprocess
import sys

import pytest

from cinn_jax.data import sources
from tests.support.folders import fill


def run(command, *arguments):
  return subprocess.run(
    [sys.executable, "-m", f"cinn_jax.data.{command}", *arguments],
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_prepare_folder_prints_counts_and_hashes(tmp_path):
  path, cache = fill(tmp_path / "photos", range(12)), tmp_path / "cache"
  options = {"path": path, "cache": cache, "validation_fraction": 0.4}
  flags = [f"--{name}={value}" for name, value in options.items()]
  result = run("prepare_folder", *flags)
  assert result.returncode == 0, result.stderr
  lines = []
  for split in sources.SPLITS:
    source = sources.open_source("folder", split, **options)
    lines.append(f"{split}: {source.name}, listing {source.listing_hash}")
  assert result.stdout.splitlines() == lines


def test_prepare_folder_takes_pairs_and_named_splits(tmp_path):
  for name, numbers in (("train", range(3)), ("val", range(3, 5))):
    fill(tmp_path / name, numbers)
  result = run(
    "prepare_folder",
    f"--path={tmp_path}",
    "--source=paired",
    f"--cache={tmp_path / 'cache'}",
    "--train_split=train",
    "--validation_split=val",
  )
  assert result.returncode == 0, result.stderr
  counts = [line.split(" images), ")[0] for line in result.stdout.splitlines()]
  assert [int(count.split()[-1]) for count in counts] == [3, 2, 2]
  assert "pairs of folder" in result.stdout


@pytest.mark.parametrize(
  "command, arguments, message",
  [
    ("prepare_folder", ["--path=/nonexistent"], "there is no folder"),
    ("prepare_folder", [], "--path must have a value"),
    ("prepare_folder", ["--path=x", "--source=y"], "<folder|paired>"),
    ("prepare_tfds", [], "--name must have a value"),
  ],
)
def test_mistakes_print_one_line(command, arguments, message):
  result = run(command, *arguments)
  assert result.returncode == 1 and not result.stdout
  (line,) = result.stderr.splitlines()
  assert line.startswith("Error: ") and message in line
