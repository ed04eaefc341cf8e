"""The weights that come with the package."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.workdir import calibration_file, shipped, tensor_file

ROOT = pathlib.Path(__file__).parents[2]
WEIGHTS = ROOT / "cinn_jax" / "weights"
MOST_BYTES = 10e6


def test_weights_are_small():
  sizes = {file.stem: file.stat().st_size for file in WEIGHTS.glob("*.saf*")}
  assert sizes.keys() == {*shipped.NAMES, "efficientnet_lite0"}
  assert sizes.pop("mnist") <= MOST_BYTES
  assert sum(sizes.values()) <= MOST_BYTES


def test_the_card_names_every_file():
  card = (WEIGHTS / "README.md").read_text()
  assert all(file.name in card for file in WEIGHTS.glob("*.safetensors"))


@pytest.mark.parametrize(
  "name, task", [("photographs", "colorize"), ("mnist", "class_conditional")]
)
def test_networks_are_stored_in_half_precision(name, task):
  variables, description = tensor_file.read(shipped.find(name))
  kinds = {"float32": []}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    kinds.setdefault(leaf.dtype.name, []).append(jax.tree_util.keystr(path))
  assert len(kinds["float16"]) > len(kinds["float32"])
  assert not any("condition_net" in path for path in kinds["float32"])
  assert description["run"]["task"]["name"] == task
  assert "path" not in description["run"].get("data", {})


@pytest.mark.parametrize("name", shipped.NAMES)
def test_a_run_of_that_name_comes_first(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / name / "checkpoints" / "3").mkdir(parents=True)
  assert shipped.find(name) is None
  (tmp_path / name).rename(tmp_path / "other")
  (tmp_path / name).touch()
  assert shipped.find(name) is None


@pytest.mark.parametrize("name", shipped.NAMES)
def test_a_folder_of_pictures_does_not_hide_weights(
  name, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / name).mkdir()
  (tmp_path / name / "a.jpg").touch()
  assert shipped.find(name).name == f"{name}.safetensors"


@pytest.mark.slow
def test_photographs_are_inverted_exactly():
  flow, variables = cinn_jax.load("photographs")
  cond = {
    "lightness": np.zeros((1, 128, 128, 1), np.float32),
    "hints": np.zeros((1, 32, 32, 3), np.float32),
  }
  x, log_prob = flow.sample(variables, jax.random.key(0), cond)
  z, _ = flow.forward(variables, x[:, 0], cond)
  back, _ = flow.inverse(variables, z, cond)
  np.testing.assert_allclose(back, x[:, 0], atol=1e-3)
  total = flow.log_prob(variables, x[:, 0], cond).total
  np.testing.assert_allclose(total, log_prob[:, 0], rtol=1e-4)


def test_digits_are_inverted_exactly():
  flow, variables = cinn_jax.load("mnist")
  classes = jax.nn.one_hot(np.arange(10), 10)
  draw = jax.jit(flow.sample)
  x, log_prob = draw(variables, jax.random.key(0), classes)
  scored = jax.jit(flow.log_prob)(variables, x[:, 0], classes)
  np.testing.assert_allclose(scored.total, log_prob[:, 0], rtol=1e-4)
  # Sevens are likelier as sevens than as any other digit.
  sevens, _ = flow.sample(variables, jax.random.key(1), classes[7:8], 20)
  under = [
    flow.log_prob(variables, sevens[0], jax.numpy.tile(one, (20, 1))).total
    for one in classes
  ]
  assert (np.argmax(under, axis=0) == 7).mean() > 0.9


@pytest.mark.slow
def test_an_installed_package_has_them(tmp_path):
  pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
  subprocess.run([*pip, f"--target={tmp_path / 'site'}", str(ROOT)], check=True)
  code = (
    "import cinn_jax; flow, _ = cinn_jax.load('photographs');"
    " digits, _ = cinn_jax.load('mnist');"
    " print(cinn_jax.__file__, flow.event_shape, digits.event_shape)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    capture_output=True,
    text=True,
    check=True,
  )
  assert result.stdout.startswith(str(tmp_path / "site"))
  assert "(128, 128, 2) (28, 28, 1)" in result.stdout


def test_an_exported_file_is_the_run(tmp_path, capsys):
  file = tmp_path / "mine.safetensors"
  assert shipped.for_config(file, "mnist.py:small") == file
  assert shipped.for_config(tmp_path, "mnist.py:small") == "mnist"
  assert "using the weights that come with" in capsys.readouterr().out
  (tmp_path / "checkpoints" / "3").mkdir(parents=True)
  assert shipped.for_config(tmp_path, "mnist.py:small") == tmp_path
  assert f"Using the run in {tmp_path}" in capsys.readouterr().out


def test_a_calibration_made_here_comes_first(tmp_path):
  own = calibration_file.read("photographs", tmp_path)
  assert own == calibration_file.read("photographs")
  calibration_file.write(tmp_path, {"pictures": 3})
  assert calibration_file.read("photographs", tmp_path)["pictures"] == 3
