"""A run that starts from the parameters of another: `train.init_from`."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.evaluation.by_task import classifier
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from cinn_jax.workdir import portable, shipped
from tests.support import tiny
from tests.support.untrained import make_workdir


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  """An exported run whose parameters no other seed draws."""
  folder = tmp_path_factory.mktemp("run")
  make_workdir(tiny.digits(), folder / "run", noise=0.1)
  portable.export(folder / "run", folder / "a.safetensors")
  return folder / "a.safetensors"


def _config(**train):
  config = tiny.digits(num_steps=1, **train)
  config.optimizer.update({"learning_rate": 1e-30, "schedule": "constant"})
  return config


def test_the_parameters_are_those_of_the_file(file, tmp_path, capsys):
  train(_config(init_from=str(file)), tmp_path / "run")
  assert f"Starting from {file}, step 0." in capsys.readouterr().out
  here, there = (
    cinn_jax.load(path)[1]["params"] for path in (tmp_path / "run", file)
  )
  # The average of equal parameters has their rounding.
  jax.tree.map(
    lambda *pair: np.testing.assert_allclose(*pair, 1e-6), here, there
  )


@pytest.mark.slow
def test_a_resumed_run_does_not_start_from_it_again(file, tmp_path, capsys):
  config = _config(init_from=str(file))
  train(config, tmp_path)
  capsys.readouterr()
  config.train.num_steps = 2
  train(config, tmp_path)
  printed = capsys.readouterr().out
  assert "Resuming from step 1." in printed and "Starting from" not in printed


def test_another_network_is_refused(file, tmp_path):
  config = _config(init_from=str(file))
  config.model.hidden = (16,)
  with pytest.raises(ValueError, match="is another network than this config"):
    train(config, tmp_path)


def test_a_file_can_be_sampled_like_its_workdir(file, tmp_path):
  for name, source in (("run", file.parent / "run"), ("file", file)):
    assert not sample(source, tmp_path / name, num_samples=2)
  for path in (tmp_path / "run").glob("*.png"):
    assert path.read_bytes() == (tmp_path / "file" / path.name).read_bytes()


@pytest.mark.slow
def test_a_file_can_be_evaluated(file, monkeypatch):
  monkeypatch.setattr(classifier, "STEPS", 5)
  evaluate(file, outputs=file, sampling=Sampling(num_samples=1))
  assert (file.with_suffix("") / "evaluation.json").is_file()


def test_a_file_without_a_task_is_refused(tmp_path):
  flow = cinn_jax.make_flow(
    cinn_jax.vector_flow(2, hidden=(4,), coupling="affine"), (2,)
  )
  variables = flow.init(jax.random.key(0), np.zeros((3, 2), np.float32))
  cinn_jax.save(tmp_path / "f.safetensors", flow, variables)
  with pytest.raises(ValueError, match="holds a flow without a task"):
    cinn_jax.restore(tmp_path / "f.safetensors")


def test_a_config_without_a_run_takes_the_shipped_flow(tmp_path, capsys):
  config = shipped.NAMES["photographs"]
  assert shipped.for_config(tmp_path, config) == "photographs"
  assert "No run in" in capsys.readouterr().out
  make_workdir(tiny.digits(), tmp_path)
  assert shipped.for_config(tmp_path, config) == tmp_path
  assert shipped.for_config(tmp_path / "no", "colorize.py") == tmp_path / "no"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "workdir"])
def test_it_works_on_several_devices(kind, file, tmp_path):
  source = file if kind == "file" else file.parent / "run"
  code = (
    "import sys\nfrom cinn_jax.training.train import train\n"
    "from tests.training.test_init_from import _config\n"
    "train(_config(init_from=sys.argv[1]), sys.argv[2])"
  )
  subprocess.run(
    [sys.executable, "-c", code, str(source), str(tmp_path / "run")],
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"},
    check=True,
  )
  here, there = (
    cinn_jax.load(path)[1]["params"] for path in (tmp_path / "run", file)
  )
  jax.tree.map(
    lambda *pair: np.testing.assert_allclose(*pair, 1e-6), here, there
  )
