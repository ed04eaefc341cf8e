"""Small pictures are Pillow's, and who is given what."""

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
def test_the_small_picture_is_pillows(scale):
  task = _task(scale=scale)
  _, cond = task.prepare({"image": IMAGE})
  assert task.cond_shape == (32 // scale, 16 // scale, 3)
  for given, picture in zip(_levels(cond), IMAGE, strict=True):
    np.testing.assert_array_equal(
      given, _pillow(picture, 32 // scale, 16 // scale)
    )


def test_caflow_gives_it_enlarged_and_rounded():
  task = _task(condition_size="target")
  _, cond = task.prepare({"image": IMAGE})
  enlarged = [_pillow(_pillow(p, 8, 4), 32, 16) for p in IMAGE]
  np.testing.assert_array_equal(_levels(cond), enlarged)
  np.testing.assert_allclose(
    task.reference(cond), np.stack(enlarged) / 255, atol=1e-6
  )


def test_the_trivial_answer_is_the_enlarged_picture():
  task = _task()
  _, cond = task.prepare({"image": IMAGE})
  enlarged = np.stack([_pillow(_pillow(p, 8, 4), 32, 16) for p in IMAGE])
  np.testing.assert_allclose(task.reference(cond), enlarged / 255, atol=1e-6)


def test_a_batch_may_bring_its_small_pictures():
  small = IMAGE[:, :8, :4]
  _, cond = _task().prepare({"image": IMAGE, "condition": small})
  np.testing.assert_array_equal(_levels(cond), small)
  with pytest.raises(ValueError, match="takes small pictures of 8x4"):
    _task().prepare({"image": IMAGE, "condition": IMAGE})


@pytest.mark.parametrize(
  "options, complaint",
  [
    ({"scale": 3}, "divides 32 and 16, got 3"),
    ({"scale": 1}, "a scale of 2 or more"),
    ({"condition_size": "huge"}, "expected one of native, target"),
  ],
)
def test_what_does_not_fit_is_told(options, complaint):
  with pytest.raises(ValueError, match=complaint):
    _task(**options)
