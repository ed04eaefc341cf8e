"""Grey pictures of a class: pixels to standardised x, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.data import sources
from cinn_jax.evaluation.by_task import class_conditional
from cinn_jax.experiment.build import build_task, open_source
from cinn_jax.images import color
from configs import mnist

SIZE = 6


def _task(**options):
  return build_task("class_conditional", image_size=SIZE, **options)


@pytest.fixture(scope="module")
def batch():
  """Returns pictures of four classes with all grey levels."""
  grey = np.arange(256).repeat(2)[: 14 * SIZE * SIZE].astype(np.uint8)
  grey = np.resize(grey, (15, SIZE, SIZE, 1))
  labels = (np.arange(15) % 4).astype(np.int32)
  return {"image": np.repeat(grey, 3, -1), "label": labels}


def test_shapes_match_the_task(batch):
  task = _task(num_classes=7)
  x, cond = jax.jit(task.prepare)(batch)
  assert x.shape == (15, SIZE, SIZE, 1) == (15, *task.event_shape)
  assert cond.shape == (15, 7) == (15, *task.cond_shape)
  assert x.dtype == cond.dtype == jnp.float32
  assert task.render(x, cond).shape == batch["image"].shape
  assert task.image_size == SIZE
  assert "6x6" in task.description and "one of 7 classes" in task.description


@pytest.mark.parametrize(
  "options, mean, std",
  [({}, 0.128, 0.305), ({"mean": 0.0, "std": 1.0}, 0.0, 1.0)],
)
def test_pixels_are_standardised_labels_one_hot(batch, options, mean, std):
  x, cond = jax.jit(_task(**options).prepare)(batch)
  expected = (batch["image"][..., :1] / 255.0 - mean) / std
  np.testing.assert_allclose(x, expected, atol=2e-6)
  np.testing.assert_array_equal(cond, np.eye(10)[batch["label"]])


def test_render_restores_every_grey_level(batch):
  task = _task()
  picture = color.to_uint8(task.render(*task.prepare(batch)))
  np.testing.assert_array_equal(picture, batch["image"])
  far = task.render(jnp.full((1, SIZE, SIZE, 1), 99.0), jnp.zeros((1, 10)))
  assert np.all(np.asarray(far) == 1)


def test_colours_are_averaged():
  image = np.zeros((1, SIZE, SIZE, 3), np.uint8) + np.array([30, 60, 9], "u1")
  x, _ = _task(mean=0.0, std=1.0).prepare(
    {"image": image, "label": np.zeros(1, np.int32)}
  )
  np.testing.assert_allclose(x, 33 / 255, rtol=1e-6)


def test_noise_is_gaussian_and_only_on_x():
  x, cond = jnp.ones((400, SIZE, SIZE, 1)), jnp.ones((400, 10))
  add = jax.jit(_task(noise_scale=0.15).add_noise)
  noisy, same = add(jax.random.key(0), x, cond)
  np.testing.assert_array_equal(same, cond)
  noise = np.asarray(noisy) - 1
  assert abs(np.mean(noise)) < 5e-3
  assert np.std(noise) == pytest.approx(0.15, rel=0.02)
  assert np.mean(np.abs(noise) > 0.3) == pytest.approx(0.0455, abs=0.01)
  again, _ = add(jax.random.key(1), x, cond)
  assert np.all(again != noisy)


def test_scales_convert_to_grey_levels():
  # One unit of x is std of the range, which has levels - 1 steps.
  assert _task().scales == pytest.approx((0.305 * 255,))
  assert _task(std=0.376, levels=17).scales == pytest.approx((0.376 * 16,))
  assert _task(levels=17).units == "steps of 17 grey levels"


def test_condition_picture_shows_the_class():
  shown = np.asarray(_task(num_classes=12).condition_picture(jnp.eye(12)))
  assert shown.ndim == 4 and shown.shape[::3] == (12, 3)
  assert np.all((shown >= 0) & (shown <= 1))
  assert len({picture.tobytes() for picture in shown}) == 12
  # A 1 has less ink than an 8, and all have some.
  ink = np.mean(shown < 0.5, axis=(1, 2, 3))
  assert 0 < ink[1] < ink[8] < 0.3


def test_evaluation_uses_the_same_grey():
  colored = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
  task = _task(mean=0.0, std=1.0)
  x, _ = task.prepare({"image": colored, "label": np.zeros(3, np.int32)})
  grey = class_conditional.as_grey(colored)
  np.testing.assert_allclose(grey, 255 * x[..., 0], atol=0.51)


def test_label_out_of_range_raises():
  """Checks labels, because one-hot such a label would be all zeros."""
  config = mnist.get_config("digits")
  config.task.num_classes = 7
  source = open_source(config, build_task(**config.task), "test")
  labels = sources.open_source("digits", "test").labels
  first = int(np.argmax(labels == 7))
  assert source[int(np.argmax(labels == 6))]["label"] == 6
  with pytest.raises(ValueError, match=r"has the label 7, expected 0 to 6"):
    source[first]


def test_missing_labels_raise(batch):
  with pytest.raises(ValueError, match="needs pictures with labels"):
    _task().prepare({"image": batch["image"]})


@pytest.mark.parametrize(
  "options",
  [{"std": 0.0}, {"noise_scale": -0.1}, {"levels": 1}, {"num_classes": 0}],
)
def test_bad_numbers_raise(options):
  with pytest.raises(ValueError, match="takes std above 0") as error:
    _task(**options)
  [(name, value)] = options.items()
  assert f"{name} {value}" in str(error.value)
