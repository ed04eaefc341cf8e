"""Unconditional pictures, and pictures of a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.experiment.build import build_task
from cinn_jax.images import color

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)


def _task(**options):
  return build_task("generate", image_size=(4, 6), **options)


def test_without_classes_cond_is_empty():
  task = _task()
  x, cond = jax.jit(task.prepare)({"image": IMAGE})
  assert x.shape == (5, *task.event_shape) and cond.shape == (5, 0)
  assert task.cond_shape == (0,)
  assert x.dtype == cond.dtype == jnp.float32
  noisy, cond = task.add_noise(jax.random.key(0), x, cond)
  assert cond.shape == (5, 0)
  np.testing.assert_array_equal(np.floor(noisy * 256), IMAGE)
  np.testing.assert_array_equal(color.to_uint8(task.render(noisy, cond)), IMAGE)
  shown = task.condition_picture(cond)
  assert shown.shape == (5, 64, 64, 3) and np.ptp(shown) == 0
  assert "given nothing" in task.description


def test_with_classes_cond_is_the_label():
  task = _task(num_classes=3)
  label = np.array([2, 0, 1, 1, 2], np.int32)
  x, cond = task.prepare({"image": IMAGE, "label": label})
  np.testing.assert_array_equal(cond, np.eye(3)[label])
  _, same = task.add_noise(jax.random.key(0), x, cond)
  np.testing.assert_array_equal(same, cond)
  shown = task.condition_picture(cond)
  np.testing.assert_array_equal(shown[2], shown[3])
  assert np.abs(shown[0] - shown[1]).max() > 0.5
  assert "one of 3 classes" in task.description and task.cond_shape == (3,)


def test_classes_without_labels_raise():
  with pytest.raises(ValueError, match="these have none"):
    _task(num_classes=3).prepare({"image": IMAGE})
