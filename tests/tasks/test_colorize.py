"""Colorization: pictures to normalised Lab, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.data
from PIL import Image

from cinn_jax.experiment.build import build_task
from cinn_jax.images import color
from cinn_jax.tasks.colorize import (
  denormalize_ab,
  denormalize_lightness,
  normalize_ab,
  normalize_lightness,
)

SIZE, AB_SIZE = 32, 16
# The most that rounding to 8 bits changes L; see tests/images/test_color.py.
ROUNDING = 0.28


def _task(**options):
  sizes = {"image_size": SIZE, "ab_size": AB_SIZE}
  return build_task("colorize", **{**sizes, **options})


@pytest.fixture(scope="module")
def photos():
  """Returns two photographs, uint8 [2, SIZE, SIZE, 3]."""
  pictures = skimage.data.astronaut()[:300, 100:400], skimage.data.coffee()
  return np.stack(
    [np.asarray(Image.fromarray(p).resize((SIZE, SIZE))) for p in pictures]
  )


@pytest.fixture(scope="module")
def task():
  return _task()


@pytest.fixture(scope="module")
def prepare(task):
  prepare = jax.jit(task.prepare)
  return lambda image: prepare({"image": image})


@pytest.fixture(scope="module")
def render(task):
  return jax.jit(lambda x, cond: color.to_uint8(task.render(x, cond)))


def _lab(image):
  return skimage.color.rgb2lab(np.asarray(image) / 255.0)


def _plain(colors):
  """Returns a plain picture of each colour, [N, SIZE, SIZE, 3]."""
  colors = np.asarray(colors, np.uint8)
  return np.tile(colors[:, None, None], (1, SIZE, SIZE, 1))


def test_shapes_match_the_task(task, prepare, render, photos):
  x, cond = prepare(photos)
  assert x.shape == (2, AB_SIZE, AB_SIZE, 2) == (2, *task.event_shape)
  assert cond.shape == (2, SIZE, SIZE, 1) == (2, *task.cond_shape)
  assert x.dtype == cond.dtype == jnp.float32
  assert render(x, cond).shape == (2, SIZE, SIZE, 3)
  assert task.image_size == SIZE
  assert "16x16 given L at 32x32, gaussian noise 0.05" in task.description


def test_published_offsets_and_scales(task, prepare):
  colors = [[200, 30, 60], [10, 90, 250], [255, 255, 255]]
  lab = _lab(np.array(colors)[:, None])[:, 0]
  x, cond = prepare(_plain(colors))
  for k, (lightness, a, b) in enumerate(lab):
    np.testing.assert_allclose(cond[k], (lightness - 47.5) / 25.6, atol=1e-4)
    np.testing.assert_allclose(x[k, ..., 0], (a - 2.4) / 11.2, atol=1e-4)
    np.testing.assert_allclose(x[k, ..., 1], (b - 7.4) / 16.8, atol=1e-4)
  assert task.scales == (11.2, 16.8)


def test_ab_is_downsampled_by_averaging(prepare):
  first, second = [220, 60, 60], [60, 90, 220]
  y, x = np.mgrid[:SIZE, :SIZE]
  board = np.where(((x + y) % 2)[..., None], first, second).astype(np.uint8)
  mixed, _ = prepare(board[None])
  plain, _ = prepare(_plain([first, second]))
  mean = plain.mean(0)
  # At the border, a cell covers unequal parts of the two colours.
  np.testing.assert_allclose(mixed[0, 1:-1, 1:-1], mean[1:-1, 1:-1], atol=1e-4)
  assert np.abs(plain[0] - mean).min() > 1


def test_lightness_is_not_averaged(prepare, photos):
  _, cond = prepare(photos)
  lightness = denormalize_lightness(cond)[..., 0]
  np.testing.assert_allclose(lightness, _lab(photos)[..., 0], atol=2e-3)


def test_render_keeps_the_lightness(prepare, render, photos):
  x, cond = prepare(photos)
  truth = _lab(photos)[..., 0]
  wild = np.random.default_rng(0).normal(0, 4, x.shape).astype(np.float32)
  for ab in (x, wild):
    lightness = _lab(render(ab, cond))[..., 0]
    assert np.abs(lightness - truth).max() < ROUNDING
  assert np.std(render(wild, cond) - render(x, cond).astype(float)) > 20


def test_render_restores_the_colours(prepare, render, photos):
  ab = _lab(photos)[..., 1:]
  back = _lab(render(*prepare(photos)))[..., 1:]
  # Only detail finer than a cell is lost.
  error = np.sqrt(np.mean((back - ab) ** 2))
  assert error < 0.25 * np.sqrt(np.mean(ab**2))
  colors = [[200, 90, 60], [60, 90, 140], [128, 128, 128]]
  plain = _plain(colors)
  difference = np.abs(render(*prepare(plain)).astype(int) - plain)
  assert difference.max() <= 1


def test_colours_at_full_size_are_unchanged(photos):
  task = _task(ab_size=SIZE)
  back = jax.jit(lambda b: task.render(*task.prepare(b)))({"image": photos})
  np.testing.assert_allclose(back, photos / np.float32(255), atol=1e-3)


def test_condition_picture_is_grey(task, prepare, photos):
  _, cond = prepare(photos)
  grey = np.asarray(jax.jit(task.condition_picture)(cond))
  np.testing.assert_allclose(grey, grey[..., :1].repeat(3, -1), atol=1e-3)
  lightness = skimage.color.rgb2lab(grey)[..., 0]
  np.testing.assert_allclose(lightness, _lab(photos)[..., 0], atol=0.02)
  assert task.condition_name == "grey"


def test_render_clips_an_extreme_lightness(task, prepare, photos):
  x, cond = prepare(photos)
  picture = jax.jit(task.render)(x, 3 * cond)
  assert np.all((picture >= 0) & (picture <= 1))


@pytest.fixture(scope="module")
def flat():
  return jnp.zeros((64, AB_SIZE, AB_SIZE, 2)), jnp.ones((64, SIZE, SIZE, 1))


def _noise(flat, **options):
  add = jax.jit(_task(**options).add_noise)
  return lambda seed: add(jax.random.key(seed, impl="rbg"), *flat)


def test_gaussian_noise_is_only_on_x(flat):
  draw = _noise(flat, noise="gaussian", noise_scale=0.05)
  x, cond = draw(0)
  np.testing.assert_array_equal(cond, flat[1])
  assert abs(np.mean(x)) < 1e-3
  assert np.std(x) == pytest.approx(0.05, rel=0.02)
  assert np.mean(np.abs(x) > 0.1) == pytest.approx(0.0455, abs=0.01)
  np.testing.assert_array_equal(draw(0)[0], x)
  assert np.all(draw(1)[0] != x)


def test_uniform_noise_is_on_x_and_cond(flat):
  draw = _noise(flat, noise="uniform", noise_scale=0.2)
  x, cond = draw(0)
  for noise in (np.asarray(x), np.asarray(cond) - 1):
    assert -1e-6 <= noise.min() < 0.01 and 0.19 < noise.max() <= 0.2
    assert np.mean(noise) == pytest.approx(0.1, abs=2e-3)
    assert np.std(noise) == pytest.approx(0.2 / np.sqrt(12), rel=0.02)
  # The two are independent.
  both = [np.ravel(x), np.ravel(cond)[: x.size]]
  assert abs(np.corrcoef(both)[0, 1]) < 0.03


def test_normalisation_round_trip():
  x = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
  back = normalize_ab(denormalize_ab(x))
  np.testing.assert_allclose(back, x, atol=1e-5)
  far = denormalize_ab(jnp.array([[100.0, -100.0]]))
  np.testing.assert_array_equal(far, [[128, -128]])
  lightness = jnp.array([0.0, 33.0, 100.0])
  back = denormalize_lightness(normalize_lightness(lightness))
  np.testing.assert_allclose(back, lightness, atol=1e-4)


def test_jit_changes_nothing(task, prepare, render, photos):
  x, cond = task.prepare({"image": photos})
  for ours, jitted in zip((x, cond), prepare(photos), strict=True):
    np.testing.assert_allclose(ours, jitted, atol=1e-4)
  picture = color.to_uint8(task.render(x, cond)).astype(int)
  assert np.abs(picture - render(x, cond).astype(int)).max() <= 1


@pytest.mark.parametrize(
  "options, message",
  [
    ({"noise": "laplace"}, "'gaussian' or 'uniform', got 'laplace'"),
    ({"ab_size": 33}, r"from 1 to image_size \(32\), got 33"),
    ({"ab_size": 0}, r"from 1 to image_size \(32\), got 0"),
  ],
)
def test_bad_settings_raise(options, message):
  with pytest.raises(ValueError, match=message):
    _task(**options)


def test_unknown_task_raises():
  with pytest.raises(
    ValueError, match="'paint'; there are class_conditional, color"
  ):
    build_task("paint")


def test_settings_of_another_task_raise():
  with pytest.raises(ValueError, match=r"task 'inpaint' do not .*'ab_size'\)"):
    build_task("inpaint", image_size=16, ab_size=16)
  with pytest.raises(ValueError, match=r"missing a required .*'image_size'"):
    build_task("inpaint")


def test_views_may_be_larger_than_the_network_sees(photos, prepare):
  task = _task(image_size=SIZE // 2, ab_size=AB_SIZE, view_size=SIZE)
  x, lightness = jax.jit(task.prepare)({"image": photos})
  whole_x, whole = prepare(photos)
  np.testing.assert_array_equal(x, whole_x)
  blocks = np.asarray(whole).reshape(2, SIZE // 2, 2, SIZE // 2, 2, 1)
  np.testing.assert_allclose(lightness, blocks.mean((2, 4)), atol=1e-5)
  with pytest.raises(
    ValueError, match=r"multiple of image_size \(32\), got 40"
  ):
    _task(view_size=40)
