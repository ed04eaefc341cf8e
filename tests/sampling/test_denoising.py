"""`--denoise`: samples without the noise of training, and who refuses it."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver
from PIL import Image
from skimage import data

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.experiment.build import build, build_task
from cinn_jax.sampling import flags as sampling_flags
from cinn_jax.sampling import photos
from cinn_jax.sampling import sample as sampling
from cinn_jax.sampling.denoising import (
  denoised,
  make_denoise,
  removable_noise,
)
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.sampling.sample import sample
from cinn_jax.workdir.trained import restore
from configs import colorize, generate, mnist
from tests.support import pyramids, untrained

ROOT = pathlib.Path(__file__).parents[2]
KEY, NUMBERS = jax.random.key(0), jnp.arange(5, dtype=jnp.uint32)

# v ~ N(B c, S), x = v + NOISE n, so x ~ N(B c, S + NOISE^2 I).
NOISE = 0.7
B = np.array([[1.0, -2.0], [0.5, 0.3], [0.0, 4.0]])
S = np.array([[2.0, 0.9, 0.0], [0.9, 1.0, -0.2], [0.0, -0.2, 0.1]])
TOTAL = S + NOISE**2 * np.eye(3)
ROOT_OF_TOTAL = np.linalg.cholesky(TOTAL)


class Gaussian(bj.Bijection):
  """The exact flow of x given c."""

  def forward(self, x, cond=None):
    z = (x - cond @ B.T) @ np.linalg.inv(ROOT_OF_TOTAL).T
    return z, jnp.full(len(x), -np.linalg.slogdet(ROOT_OF_TOTAL)[1])

  def inverse(self, z, cond=None):
    x = z @ ROOT_OF_TOTAL.T + cond @ B.T
    return x, jnp.full(len(x), np.linalg.slogdet(ROOT_OF_TOTAL)[1])


def test_samples_become_the_posterior_mean():
  flow = make_flow(Gaussian(), (3,), (2,))
  cond = jnp.array([[0.4, -1.5]])
  draw = functools.partial(make_draw(flow), {}, cond)
  clean_draw = denoised(draw, make_denoise(flow, NOISE), {}, cond)
  x, log_prob = draw(KEY, NUMBERS, 0.8)
  clean, same = clean_draw(KEY, NUMBERS, 0.8)
  # For a Gaussian: E[v | x] = B c + S (S + NOISE^2 I)^-1 (x - B c).
  mean = cond @ B.T
  expected = mean + (x - mean) @ (S @ np.linalg.inv(TOTAL)).T
  assert np.abs(expected - x).max() > 0.1
  np.testing.assert_allclose(clean, expected, atol=1e-4)
  # The likelihood is that of the noisy samples.
  np.testing.assert_array_equal(same, log_prob)
  np.testing.assert_allclose(
    flow.log_prob({}, x, jnp.repeat(cond, 5, 0)).total, log_prob, rtol=1e-4
  )


TASKS = {
  "class_conditional": {"image_size": 16, "noise_scale": 0.3},
  "color_mnist": {"image_size": 16, "noise_scale": 0.3},
  "colorize": {"image_size": 32, "ab_size": 16, "noise_scale": 0.3},
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks_name_their_gaussian_noise(name):
  task = build_task(name, **TASKS[name])
  assert task.gaussian_noise == 0.3
  x = jnp.zeros((64, *task.event_shape))
  noisy, _ = task.add_noise(KEY, x, jnp.zeros((64, *task.cond_shape)))
  np.testing.assert_allclose(jnp.std(noisy), task.gaussian_noise, rtol=0.03)


def _built(module, variant, **settings):
  """Returns the flow and the task of a config with other settings."""
  config = module.get_config(variant)
  for name, value in settings.items():
    section, key = name.split("__")
    config[section][key] = value
  return build(config)


@pytest.mark.parametrize(
  "module, variant, settings, message",
  [
    (mnist, "cvae", {}, "which a conditional VAE does not have"),
    (mnist, "digits", {"task__noise_scale": 0.0}, "gaussian noise 0: leave"),
    (generate, "glow", {}, "trained on .*uniform noise of a level"),
    (colorize, "laptop", {"task__noise": "uniform"}, "uniform noise 0.05:"),
    (colorize, "photographs", {}, "noise 0.05 at 32x32, of details 0.05"),
    (
      colorize,
      "photographs",
      {"task__detail_noise": (), "model__level": 16},
      "only 16 of a pyramid's levels",
    ),
  ],
)
def test_other_runs_are_refused(module, variant, settings, message):
  with pytest.raises(ValueError, match=message) as error:
    removable_noise(*_built(module, variant, **settings))
  text = str(error.value)
  assert text.startswith("--denoise") and text.endswith(": leave it out.")
  assert "\n" not in text


def test_whole_pyramids_of_one_noise_are_not_refused():
  settings = {"task__detail_noise": ()}
  assert removable_noise(*_built(colorize, "photographs", **settings)) == 0.05


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
    lambda *args: captions.append(args[-1]) or results(*args),
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
  config = colorize.get_config("photographs")
  # Without features, it compiles faster.
  config.model.update({**pyramids.SMALL, "features": ""})
  config.task.update(
    {"image_size": 32, "ab_size": 8, "detail_noise": (), "hints": 0}
  )
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


@pytest.fixture
def parsed():
  """Lets flags be read, as after the start of a command."""
  if not absl_flags.FLAGS.is_parsed():
    absl_flags.FLAGS.mark_as_parsed()
    yield
    absl_flags.FLAGS.unparse_flags()
  else:
    yield


@pytest.mark.usefixtures("parsed")
def test_other_modes_refuse_the_flag():
  message = r"--denoise .* not for --mode=report"
  given = flagsaver.flagsaver(denoise=True)
  with given, pytest.raises(ValueError, match=message):
    sampling_flags.read_sampling("report")
  assert sampling_flags.read_sampling("report").num_samples == 8


def test_odds_are_of_noisy_samples(photographs, tmp_path):
  with pytest.raises(ValueError, match=r"--odds .*leave out --denoise"):
    sample(photographs, tmp_path / "out", odds=True, denoise=True)
