"""Coloured digits: RGB to standardised x given the grey digit, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.data import sources
from cinn_jax.experiment.build import build_task
from cinn_jax.images import color

SIZE = 8


def _task(**options):
  return build_task("color_mnist", image_size=SIZE, **options)


@pytest.fixture(scope="module")
def batch():
  source = sources.open_source("color_digits", "train")
  records = [source[k] for k in range(len(source))]
  return {k: np.stack([r[k] for r in records]) for k in records[0]}


def test_shapes_match_the_task(batch):
  task = _task()
  x, cond = jax.jit(task.prepare)(batch)
  assert x.shape[1:] == task.event_shape == (SIZE, SIZE, 3)
  assert cond.shape[1:] == task.cond_shape == (SIZE, SIZE, 1)
  assert x.dtype == cond.dtype == jnp.float32
  assert task.image_size == SIZE and task.condition_name == "grey"
  assert "8x8" in task.description


def test_x_is_standardised_rgb_cond_is_grey(batch):
  x, cond = jax.jit(_task(mean=0.5, std=0.2).prepare)(batch)
  np.testing.assert_allclose(x, (batch["image"] / 255 - 0.5) / 0.2, atol=2e-6)
  np.testing.assert_allclose(cond, batch["grey"][..., :1] / 255, atol=1e-7)
  assert np.min(cond) == 0 and np.max(cond) == 1


def test_defaults_standardise_the_pixels(batch):
  x, _ = _task().prepare(batch)
  assert abs(np.mean(x)) < 0.05
  assert np.std(x) == pytest.approx(1.0, abs=0.1)


def test_render_restores_every_colour(batch):
  task = _task()
  x, cond = task.prepare(batch)
  picture = color.to_uint8(task.render(x, cond))
  np.testing.assert_array_equal(picture, batch["image"])
  far = task.render(jnp.full((1, SIZE, SIZE, 3), -99.0), cond[:1])
  assert np.all(np.asarray(far) == 0)
  shown = color.to_uint8(task.condition_picture(cond))
  np.testing.assert_array_equal(shown, batch["grey"])


def test_noise_is_gaussian_and_only_on_x():
  x, cond = jnp.ones((300, SIZE, SIZE, 3)), jnp.ones((300, SIZE, SIZE, 1))
  noisy, same = jax.jit(_task(noise_scale=0.2).add_noise)(
    jax.random.key(0), x, cond
  )
  np.testing.assert_array_equal(same, cond)
  noise = np.asarray(noisy) - 1
  assert abs(np.mean(noise)) < 5e-3
  assert np.std(noise) == pytest.approx(0.2, rel=0.02)
  assert np.mean(np.abs(noise) > 0.4) == pytest.approx(0.0455, abs=0.01)


def test_scales_convert_to_levels():
  assert _task(std=0.2).scales == pytest.approx((51.0,) * 3)


def test_bad_numbers_and_missing_grey_raise(batch):
  with pytest.raises(ValueError, match="with grey ones: choose --config"):
    _task().prepare({"image": batch["image"]})
  for options in ({"std": 0.0}, {"noise_scale": -0.1}):
    with pytest.raises(ValueError, match="takes std above 0"):
      _task(**options)
