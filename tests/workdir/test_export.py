"""`--mode=export`: one file from a workdir."""

import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

import cinn_jax
from cinn_jax.workdir import portable, tensor_file
from tests.support import tiny
from tests.support.trees import assert_same
from tests.support.untrained import make_workdir


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run"
  make_workdir(tiny.digits(), path)
  return path


def test_workdir_and_its_export_load_alike(workdir, tmp_path):
  path = tmp_path / "folder" / "digits.safetensors"
  portable.export(workdir, path)
  away = shutil.move(path, tmp_path / "elsewhere.safetensors")
  cond = jax.nn.one_hot([3, 7], 10)
  results = []
  for place in (workdir, away):
    flow, variables = cinn_jax.load(place)
    assert flow.cond_shape == (10,)
    draw = flow.sample(variables, jax.random.key(0), cond, num_samples=2)
    results.append((variables, draw))
  assert_same(*results)
  _, description = tensor_file.read(away)
  assert description["run"]["task"]["name"] == "class_conditional"
  assert description["run"]["step"] == 0


@pytest.mark.parametrize("named", [True, False])
def test_export_mode(named, workdir, tmp_path):
  path = workdir / "export.safetensors"
  arguments = ["--mode=export", f"--workdir={workdir}"]
  if named:
    path = tmp_path / "given.safetensors"
    arguments.append(f"--outputs={path}")
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", *arguments],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert f"Written: {path}." in result.stdout
  assert_same(cinn_jax.load(path)[1], cinn_jax.load(workdir)[1])


def test_a_workdir_takes_no_flow(workdir, saved):
  with pytest.raises(ValueError, match="has a flow of its own"):
    cinn_jax.load(workdir, flow=saved[0])
