"""The base of tasks on whole RGB pictures: units, noise, luma, PSNR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cinn_jax import likelihood
from cinn_jax.experiment.build import build_task
from cinn_jax.images import color
from cinn_jax.tasks import rgb

SHAPE = (16, 24)
NAMES = ("colorize_rgb", "inpaint", "sketch", "super_resolution")


@pytest.fixture(scope="module")
def batch():
  image = np.random.default_rng(0).integers(0, 256, (3, *SHAPE, 3), np.uint8)
  image[1, 0], image[1, 1] = 0, 255
  return {"image": image}


@pytest.fixture(scope="module", params=NAMES)
def task(request):
  return build_task(request.param, image_size=SHAPE)


def test_shapes_match_the_task(task, batch):
  x, cond = task.prepare(batch)
  assert x.shape[1:] == task.event_shape == (*SHAPE, 3)
  assert cond.shape[1:] == task.cond_shape
  assert x.dtype == cond.dtype == jnp.float32
  assert task.condition_picture(cond).shape[-1] == 3
  assert task.reference(cond).shape == (3, *SHAPE, 3)
  assert "16x24" in task.description


def test_render_restores_pictures_with_noise_or_not(task, batch):
  x, cond = task.prepare(batch)
  noisy, _ = task.add_noise(jax.random.key(0), x, cond)
  for value in (x, noisy):
    shown = color.to_uint8(task.render(value, cond))
    np.testing.assert_array_equal(shown, batch["image"])


def test_noise_fills_a_level_but_not_the_next(task, batch):
  image = np.full((16, *SHAPE, 3), 255, np.uint8)
  x, cond = task.prepare({"image": image})
  noisy, same = task.add_noise(jax.random.key(1), x, cond)
  np.testing.assert_array_equal(cond, same)
  levels = np.asarray(noisy, np.float64) * 256
  np.testing.assert_array_equal(np.floor(levels), 255)
  part = levels - 255
  # Steps of 2^-15 from half a step: they fit next to the 8 bits of a level.
  np.testing.assert_array_equal(part * 2**16 % 2, 1)
  assert part.min() < 1e-3 and 1 - 1e-3 < part.max() < 1
  assert part.mean() == pytest.approx(0.5, abs=0.01)
  assert part.std() == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_uniform_condition_noise_keeps_the_levels(name, batch):
  still, moving = (
    build_task(name, image_size=SHAPE, condition_noise=noise)
    for noise in ("half", "uniform")
  )
  _, cond = still.prepare(batch)
  _, noisy = moving.add_noise(jax.random.key(0), *moving.prepare(batch))
  channels = 3 if name == "inpaint" else cond.shape[-1]
  levels = [
    np.floor(np.asarray(c[..., :channels]) * 256) for c in (cond, noisy)
  ]
  np.testing.assert_array_equal(*levels)
  part = np.asarray(noisy[..., :channels], np.float64) * 256 - levels[0]
  assert part.std() == pytest.approx(12**-0.5, abs=0.02)
  # The mask gets no noise.
  np.testing.assert_array_equal(cond[..., channels:], noisy[..., channels:])
  with pytest.raises(ValueError, match="condition_noise is 'some'"):
    build_task(name, image_size=SHAPE, condition_noise="some")


def test_uniform_density_costs_eight_bits(task):
  # ln p = 0 on [0, 1)^D.
  bits = likelihood.bits_per_dim(0.0, np.prod(task.event_shape))
  assert likelihood.rescale_bits_per_dim(bits, task.scales) == 8.0
  assert task.units == "8-bit levels"


def test_only_the_truth_is_consistent(task, batch):
  if task.consistency is None:
    pytest.skip("this task defines no consistency")
  _, cond = task.prepare(batch)
  truth = batch["image"] / np.float32(255)
  assert np.isposinf(task.consistency(truth, cond)).all()
  other = np.asarray(task.consistency(np.clip(truth + 0.1, 0, 1), cond))
  assert (other > 15).all() and (other < 40).all()


def test_luma_equals_pillows(batch):
  luma = rgb.luma(batch["image"])
  for ours, picture in zip(luma, batch["image"], strict=True):
    theirs = np.asarray(Image.fromarray(picture).convert("L"))
    np.testing.assert_array_equal(ours[..., 0], theirs)


def test_psnr_counts_weighted_pixels():
  truth = np.zeros((2, 4, 4, 3), np.float32)
  other = truth.copy()
  other[0, :2] = 255 / 10
  weights = np.zeros((2, 4, 4, 1), np.float32)
  weights[:, :1] = 1
  expected = [20 + 10 * np.log10(2), np.inf]
  np.testing.assert_allclose(rgb.psnr(other, truth), expected, rtol=1e-5)
  expected = [20, np.inf]
  np.testing.assert_allclose(
    rgb.psnr(other, truth, weights), expected, rtol=1e-5
  )
