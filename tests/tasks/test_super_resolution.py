"""Super-resolution: small pictures are Pillow's, at either size."""

import numpy as np
import pytest
from PIL import Image

from cinn_jax.experiment.build import build_task

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)


def _pillow(picture, height, width):
  resized = Image.fromarray(picture).resize(
    (width, height), Image.Resampling.BICUBIC
  )
  return np.asarray(resized)


def _levels(cond):
  return np.floor(np.asarray(cond) * 256)


def _task(**options):
  return build_task("super_resolution", image_size=(32, 16), **options)


@pytest.mark.parametrize("scale", [4, 8])
def test_small_pictures_are_pillows(scale):
  task = _task(scale=scale)
  _, cond = task.prepare({"image": IMAGE})
  assert task.cond_shape == (32 // scale, 16 // scale, 3)
  for given, picture in zip(_levels(cond), IMAGE, strict=True):
    np.testing.assert_array_equal(
      given, _pillow(picture, 32 // scale, 16 // scale)
    )


def test_target_size_is_enlarged_and_rounded():
  task = _task(condition_size="target")
  _, cond = task.prepare({"image": IMAGE})
  enlarged = [_pillow(_pillow(p, 8, 4), 32, 16) for p in IMAGE]
  np.testing.assert_array_equal(_levels(cond), enlarged)
  np.testing.assert_allclose(
    task.reference(cond), np.stack(enlarged) / 255, atol=1e-6
  )


def test_reference_is_the_enlarged_picture():
  task = _task()
  _, cond = task.prepare({"image": IMAGE})
  enlarged = np.stack([_pillow(_pillow(p, 8, 4), 32, 16) for p in IMAGE])
  np.testing.assert_allclose(task.reference(cond), enlarged / 255, atol=1e-6)


def test_small_pictures_of_the_batch_are_used():
  small = IMAGE[:, :8, :4]
  _, cond = _task().prepare({"image": IMAGE, "condition": small})
  np.testing.assert_array_equal(_levels(cond), small)
  with pytest.raises(ValueError, match="takes small pictures of 8x4"):
    _task().prepare({"image": IMAGE, "condition": IMAGE})


@pytest.mark.parametrize(
  "options, complaint",
  [
    ({"scale": 3}, "divides height 32 and width 16, got 3"),
    ({"scale": 1}, "a scale of at least 2"),
    ({"condition_size": "huge"}, "expected one of native, target"),
  ],
)
def test_bad_settings_raise(options, complaint):
  with pytest.raises(ValueError, match=complaint):
    _task(**options)
