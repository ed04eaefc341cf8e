"""`--mode=export`: one file from a workdir."""

import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util

import cinn_jax
from cinn_jax.workdir import portable, tensor_file
from cinn_jax.workdir.half import to_half
from cinn_jax.workdir.portable import export
from cinn_jax.workdir.trained import restore
from tests.support import tiny
from tests.support.drawing import normal
from tests.support.trees import assert_same
from tests.support.untrained import make_workdir


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run"
  make_workdir(tiny.digits(), path, noise=0.1)
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


def test_half_rounds_networks_alone(workdir, tmp_path):
  files = [tmp_path / f"{name}.safetensors" for name in ("full", "half")]
  for half, file in enumerate(files):
    portable.export(workdir, file, half=bool(half))
  (flow, full), (_, half) = map(cinn_jax.load, files)
  leaves = zip(
    traverse_util.flatten_dict(full).items(),
    traverse_util.flatten_dict(half).items(),
    strict=True,
  )
  rounded = 0
  for (path, one), (same_path, other) in leaves:
    assert path == same_path
    if {"net_1", "net_2"} & set(path):
      assert other.dtype == np.float16 and one.dtype == np.float32
      np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-6)
      rounded += one.nbytes
    else:
      assert_same(one, other)
  sizes = [file.stat().st_size for file in files]
  assert rounded > 0
  assert sizes[0] - sizes[1] == pytest.approx(rounded / 2, rel=0.01)
  x, cond = normal(0, (2, 8, 8, 1), np.float32), jax.nn.one_hot([3, 7], 10)
  score = jax.jit(flow.log_prob)
  totals = [score(variables, x, cond).total for variables in (full, half)]
  np.testing.assert_allclose(*totals, rtol=1e-3)
  # The scales of an ActNorm enter the density directly.
  scales = {"params": {"parts_0": {"log_scale": np.float32([0.1, 0.2])}}}
  assert_same(to_half(scales), scales)


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


def test_an_export_is_evaluated_like_its_run(workdir, tmp_path):
  file = tmp_path / "a.safetensors"
  export(workdir, file)
  own, exported = (restore(place).config for place in (workdir, file))
  names = ("batch_size", "seed")
  assert exported["train"] == {name: own["train"][name] for name in names}
  # All of its data but this machine's paths: which pictures, and how cut.
  assert exported["data"] == {**own["data"], "path": "", "cache": ""}


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"There is no file .*a\.safe"):
    restore(tmp_path / "a.safetensors")
