"""Removal of the noise of training: the formula, and runs without it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.experiment.build import build, build_task
from cinn_jax.sampling.denoising import (
  denoised,
  make_denoise,
  removable_noise,
)
from cinn_jax.sampling.numbered import make_draw
from configs import colorize, generate, mnist

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
