"""`--denoise`: the command, its settings, photographs, and other modes."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import data

from cinn_jax.sampling import photos
from cinn_jax.sampling import sample as sampling
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.sampling.sample import sample
from cinn_jax.workdir.trained import restore
from configs import mnist
from tests.support import pyramids, untrained

ROOT = pathlib.Path(__file__).parents[2]
KEY, NUMBERS = jax.random.key(0), jnp.arange(5, dtype=jnp.uint32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  config = mnist.get_config("digits")
  config.model.update({"depth": 3, "hidden": (32,)})
  path = tmp_path_factory.mktemp("digits") / "run"
  untrained.make_workdir(config, path, noise=0.1)
  return path


def _read(folder):
  content = json.loads((folder / "samples.json").read_text())
  entry = content["pictures"]["3"]
  pixels = [np.asarray(Image.open(folder / name)) for name in entry["files"]]
  return content["settings"], entry, pixels


def _by_hand(run, draws):
  """Returns pictures of the class 3, by the formula."""
  trained = restore(run)
  flow, task, variables = trained.flow, trained.task, trained.variables
  cond = jax.nn.one_hot(jnp.array([3]), 10)
  numbers = jnp.asarray(draws, jnp.uint32)
  x, _ = make_draw(flow)(variables, cond, jax.random.key(5), numbers, 1.0)
  repeated = jnp.repeat(cond, len(x), 0)
  score = jax.grad(
    lambda x: jnp.sum(flow.log_prob(variables, x, repeated).total)
  )(x)
  pictures = task.render(x + 0.2**2 * score, repeated)
  return np.round(255 * np.asarray(pictures))


@pytest.mark.slow
def test_the_command_removes_the_noise_of_digits(run, tmp_path):
  folders = tmp_path / "noisy", tmp_path / "clean"
  sample(run, folders[0], num_samples=2, seed=5)
  command = [
    *(sys.executable, "-m", "cinn_jax.main", "--mode=sample", "--denoise"),
    *(f"--workdir={run}", f"--outputs={folders[1]}"),
    *("--num_samples=2", "--seed=5"),
  ]
  subprocess.run(command, cwd=ROOT, check=True)
  (settings, noisy, noisy_pixels), (clean_settings, clean, pixels) = map(
    _read, folders
  )
  # The noise's deviation, as configs/mnist.py has it.
  assert clean_settings == {**settings, "denoise": 0.2}
  # The order and the likelihood are those of the noisy samples.
  assert clean["draws"] == noisy["draws"]
  np.testing.assert_allclose(
    clean["bits_per_dim"], noisy["bits_per_dim"], rtol=1e-5
  )
  expected = _by_hand(run, clean["draws"])
  assert np.abs(pixels - expected).max() <= 1
  assert np.abs(noisy_pixels - expected).max() > 1


def test_noisy_results_are_not_continued(run, tmp_path, capsys, monkeypatch):
  captions, results = [], sampling.Results
  monkeypatch.setattr(
    sampling,
    "Results",
    lambda *args, **kwargs: (
      captions.append(args[-1]) or results(*args, **kwargs)
    ),
  )
  sample(run, tmp_path, num_samples=1)
  _, _, noisy = _read(tmp_path)
  sample(run, tmp_path, num_samples=1, denoise=True)
  assert "done before" not in capsys.readouterr().out
  settings, _, clean = _read(tmp_path)
  assert settings["denoise"] == 0.2
  assert np.any(noisy[0] != clean[0])
  sample(run, tmp_path, num_samples=1, denoise=True)
  assert "done before" in capsys.readouterr().out
  assert [text.split(", ")[-1] for text in captions] == [
    "temperature 1",
    *["noise removed"] * 2,
  ]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
  # Without features, it compiles faster.
  config = pyramids.small_photographs(features="")
  config.task.hints = 0
  path = tmp_path_factory.mktemp("photographs") / "run.safetensors"
  untrained.write_file(config, path, scale=0.1)
  return path


def test_photographs_lose_their_noise(photographs, tmp_path, monkeypatch):
  """Checks what is denoised, and given what; the rest would take a while."""
  path = tmp_path / "cat.png"
  Image.fromarray(data.chelsea()).save(path)
  x, log_prob, calls = jnp.ones((2, 8, 8, 2)), jnp.arange(2.0), []

  def make(flow, noise):
    calls.append((flow, noise))
    return lambda *arguments: calls.append(arguments) or 3 * x

  monkeypatch.setattr(photos, "make_draw", lambda _: lambda *_: (x, log_prob))
  monkeypatch.setattr(photos, "make_denoise", make)
  trained = restore(photographs)
  sampler = photos.Photos(trained, denoise=0.05)
  moved, same = sampler.load(Item("cat", str(path))).draw(KEY, NUMBERS, 1.0)
  np.testing.assert_array_equal(moved, 3 * x)
  np.testing.assert_array_equal(same, log_prob)
  (flow, noise), (variables, cond, noisy) = calls
  assert flow is trained.flow and noise == 0.05
  assert variables is trained.variables and noisy is x
  np.testing.assert_array_equal(cond, sampler.open(str(path)).cond)


def test_odds_are_of_noisy_samples(photographs, tmp_path):
  with pytest.raises(ValueError, match=r"--odds .*leave out --denoise"):
    sample(photographs, tmp_path / "out", odds=True, denoise=True)
