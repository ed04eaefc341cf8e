"""Colorization of RGB: the luma in one channel or in three equal ones."""

import numpy as np
import pytest
from PIL import Image

from cinn_jax.experiment.build import build_task

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_cond_is_pillows_luma(channels):
  task = build_task(
    "colorize_rgb", image_size=(8, 12), condition_channels=channels
  )
  _, cond = task.prepare({"image": IMAGE})
  assert cond.shape == (2, 8, 12, channels)
  luma = np.stack([np.asarray(Image.fromarray(p).convert("L")) for p in IMAGE])
  for channel in np.moveaxis(np.floor(np.asarray(cond) * 256), -1, 0):
    np.testing.assert_array_equal(channel, luma)
  grey = np.repeat(luma[..., None], 3, -1) / 255
  np.testing.assert_allclose(task.reference(cond), grey, atol=1e-6)
  np.testing.assert_allclose(task.condition_picture(cond), grey, atol=1e-6)


def test_consistency_measures_only_the_luma():
  task = build_task("colorize_rgb", image_size=(8, 12))
  _, cond = task.prepare({"image": IMAGE})
  grey = task.reference(cond)
  assert np.isposinf(task.consistency(grey, cond)).all()
  darker = np.asarray(grey) * (1 - 1 / 16)
  assert (np.asarray(task.consistency(darker, cond)) < 36).all()


def test_two_channels_raise():
  with pytest.raises(ValueError, match="3 for three equal ones; got 2"):
    build_task("colorize_rgb", image_size=8, condition_channels=2)
