"""Colorization at full resolution keeps lightness and shows no tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.data

from cinn_jax.images import color, full_resolution

to_lab = jax.jit(color.srgb_to_lab)


def photo_of(dtype):
  photo = skimage.data.astronaut()[60:257, 100:413]
  if dtype == np.uint8:
    return photo
  # All 65,536 levels can occur, not only multiples of 257.
  noise = np.random.default_rng(0).integers(-128, 129, photo.shape)
  return np.clip(photo.astype(int) * 257 + noise, 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_keeps_lightness_at_its_depth(dtype):
  photo = photo_of(dtype)
  ab = np.random.default_rng(1).normal(0, 60, (3, 6, 9, 2))
  out = full_resolution.colorize(photo, ab)
  assert out.shape == (3, *photo.shape) and out.dtype == dtype
  assert np.std(out.astype(float), axis=0).mean() > 0.02 * np.iinfo(dtype).max
  top = np.iinfo(dtype).max
  given = skimage.color.rgb2lab(photo / top)[..., 0]
  for picture in out:
    error = np.abs(skimage.color.rgb2lab(picture / top)[..., 0] - given)
    # The error of rounding (see test_color), and a margin of 0.01.
    assert np.max(error) < 0.27 * 255 / top + 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_colour_gives_a_grey_photo(dtype):
  grey = np.repeat(photo_of(dtype)[..., 1:2], 3, axis=-1)
  out = full_resolution.colorize(grey, np.zeros((1, 4, 4, 2)))[0]
  # The whites of Lab and sRGB differ by 8e-5 in linear light.
  slack = 0 if dtype == np.uint8 else 6
  assert np.max(np.abs(out.astype(int) - grey.astype(int))) <= slack


def test_result_has_the_given_colours():
  photo = photo_of(np.uint8)
  lab = to_lab(color.from_uint8(photo))
  samples = jnp.stack([lab[..., 1:], -lab[..., 1:]])
  out = full_resolution.colorize(photo, samples)
  assert np.mean(np.abs(out[0].astype(int) - photo.astype(int))) < 1
  opposite = skimage.color.rgb2lab(out[1])[..., 1:]
  product = np.sum(opposite * np.asarray(lab[..., 1:]), axis=-1)
  assert np.mean(product < 1) > 0.99


def test_colours_of_the_same_size_are_not_upsampled():
  photo = skimage.data.astronaut()[:40, :56]
  ab = np.asarray(color.srgb_to_lab(color.from_uint8(photo)))[None, ..., 1:]
  [again] = full_resolution.colorize(photo, ab)
  assert np.abs(again.astype(int) - photo).max() <= 1


def test_does_not_depend_on_its_tiles():
  photo = photo_of(np.uint8)
  ab = np.random.default_rng(1).normal(0, 40, (2, 6, 9, 2))
  whole = full_resolution.colorize(photo, ab, tile=512)
  for tile in (50, 128):
    np.testing.assert_array_equal(
      full_resolution.colorize(photo, ab, tile=tile), whole
    )


@pytest.mark.parametrize("shape", [(12, 20), (50, 61), (240, 330)])
def test_thumbnail_is_the_resized_lightness(shape):
  photo = photo_of(np.uint8)
  lightness = color.srgb_to_lightness(color.from_uint8(photo))
  expected = jax.image.resize(lightness, shape, "linear", antialias=True)
  got = full_resolution.lightness_thumbnail(photo, shape, strip=64)
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, expected, atol=1e-3)


def test_bad_input_raises():
  low = np.zeros((1, 4, 5, 2))
  with pytest.raises(ValueError, match=r"uint16, got float64 \(8, 8, 3\)"):
    full_resolution.colorize(np.zeros((8, 8, 3)), low)
  with pytest.raises(ValueError, match=r"uint8 \(8, 8, 4\): convert it to RGB"):
    full_resolution.colorize(np.zeros((8, 8, 4), np.uint8), low)
  photo = photo_of(np.uint8)
  with pytest.raises(ValueError, match=r"\[n, h, w, 2\], got \(1, 4, 5, 3\)"):
    full_resolution.colorize(photo, np.zeros((1, 4, 5, 3)))
  with pytest.raises(ValueError, match="ab is not finite"):
    full_resolution.colorize(photo, np.full((1, 4, 5, 2), np.nan))
