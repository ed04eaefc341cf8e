"""sRGB and Lab against scikit-image, inside and outside the gamut."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color

from cinn_jax.images import color

to_srgb = jax.jit(color.lab_to_srgb, static_argnames="gamut")


def cube(steps=25):
  """Returns a grid of the cube and every 8-bit grey: sRGB `[N, 3]`."""
  axis = np.linspace(0, 1, steps)
  grid = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
  greys = np.repeat(np.arange(256)[:, None] / 255, 3, axis=1)
  return np.concatenate([grid, greys])


def any_lab(count=100_000):
  """Draws Lab `[N, 3]`, mostly far outside the gamut."""
  rng = np.random.default_rng(0)
  lightness = rng.uniform(0, 100, (count, 1))
  return np.concatenate([lightness, rng.uniform(-110, 110, (count, 2))], 1)


def map_to_gamut(lab):
  """Returns the result of `lab_to_srgb` as float64 Lab, and as sRGB."""
  rgb = np.asarray(to_srgb(jnp.asarray(lab, jnp.float32)))
  return skimage.color.rgb2lab(rgb.astype(np.float64)), rgb


def lightness_of_greys(values):
  return skimage.color.rgb2lab(np.repeat(values[:, None], 3, axis=1))[:, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_skimage_and_keeps_the_type(dtype):
  rgb = cube()
  lab = skimage.color.rgb2lab(rgb)
  with jax.enable_x64(dtype == "float64"):
    ours = jax.jit(color.srgb_to_lab)(rgb.astype(dtype))
    lightness = jax.jit(color.srgb_to_lightness)(rgb.astype(dtype))
    assert ours.dtype == lightness.dtype == dtype
    np.testing.assert_allclose(ours, lab, atol=1e-3, rtol=0)
    np.testing.assert_array_equal(lightness, ours[..., 0])
    for gamut in color.GAMUTS:
      back = to_srgb(lab.astype(dtype), gamut)
      assert back.dtype == dtype
      np.testing.assert_allclose(
        back, skimage.color.lab2rgb(lab), atol=1e-3, rtol=0
      )


def test_round_trip_inside_the_gamut():
  rgb = cube().astype(np.float32)
  back = to_srgb(jax.jit(color.srgb_to_lab)(rgb))
  np.testing.assert_allclose(back, rgb, atol=1e-4, rtol=0)


def test_clip_equals_skimage_outside_the_gamut():
  lab = any_lab(10_000)
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*negative Z values")
    expected = skimage.color.lab2rgb(lab)
  clipped = to_srgb(jnp.asarray(lab, jnp.float32), gamut="clip")
  np.testing.assert_allclose(clipped, expected, atol=1e-3, rtol=0)


def test_chroma_keeps_lightness_up_to_rounding():
  # At a given luminance, rounding all channels the same way changes L most for
  # a grey, because the slope of the gamma curve is concave in linear light, and
  # most of all half a level away from it. The margin of 0.01 is three times the
  # error before rounding: white is not quite (100, 0, 0) in scikit-image's Lab.
  levels = np.arange(255) / 255
  step = lightness_of_greys(levels + 0.5 / 255) - lightness_of_greys(levels)
  bound = max(step) + 0.01
  assert bound < 0.28
  lab = any_lab()
  back, rgb = map_to_gamut(lab)
  assert np.max(np.abs(back[:, 0] - lab[:, 0])) < 0.01
  pixels = np.asarray(color.to_uint8(rgb))
  rounded = skimage.color.rgb2lab(pixels / 255.0)
  assert np.max(np.abs(rounded[:, 0] - lab[:, 0])) < bound


def test_chroma_keeps_hue_and_all_possible_chroma():
  lab = any_lab()
  back, rgb = map_to_gamut(lab)
  chroma = np.hypot(lab[:, 1], lab[:, 2])
  along = np.sum(lab[:, 1:] * back[:, 1:], axis=1) / chroma
  across = (lab[:, 1] * back[:, 2] - lab[:, 2] * back[:, 1]) / chroma
  assert np.max(np.abs(across)) < 0.02
  assert np.min(along) > -0.01
  assert np.max(along - chroma) < 0.01
  # Colours that lost chroma lie on the surface of the cube: none lost too much.
  mapped = along < 0.999 * chroma
  assert 0.5 < np.mean(mapped) < 0.9
  inside = np.minimum(rgb.min(axis=1), 1 - rgb.max(axis=1))[mapped]
  assert np.max(inside) < 0.03 and np.quantile(inside, 0.999) < 0.005


def test_lightness_outside_its_range_is_white_or_black():
  lightness = jnp.array([100.01, 103, 140, -0.01, -3, -40])
  ab = jnp.asarray(any_lab(500)[:, None, 1:], jnp.float32)
  ab = jnp.broadcast_to(ab, (500, 6, 2))
  lightness = jnp.broadcast_to(lightness[None, :, None], (500, 6, 1))
  lab = jnp.concatenate([lightness, ab], axis=-1)
  expected = np.broadcast_to(np.repeat([1, 0], 3)[None, :, None], (500, 6, 3))
  np.testing.assert_allclose(to_srgb(lab), expected, atol=2e-3)


def test_gradients_are_finite_at_every_edge():
  edges = [0, 1e-9, 0.0031308, 0.008856, 0.04045, 0.5, 1]
  rgb = jnp.array(np.stack(np.meshgrid(edges, edges, edges), -1), jnp.float32)
  there = jax.jit(jax.grad(lambda x: jnp.sum(color.srgb_to_lab(x))))(rgb)
  assert np.all(np.isfinite(there))
  labs = jnp.concatenate(
    [
      color.srgb_to_lab(rgb).reshape(-1, 3),
      jnp.array([[0.0, 0, 0], [100, 0, 0], [100, 90, -90], [0, 90, -90]]),
      jnp.asarray(any_lab(1000), jnp.float32),
    ]
  )
  for gamut in color.GAMUTS:
    back = jax.grad(lambda x, g=gamut: jnp.sum(to_srgb(x, g)))(labs)
    assert np.all(np.isfinite(back)), gamut


@pytest.mark.slow
def test_gradients_inside_and_outside_the_gamut():
  with jax.enable_x64(True):
    labs = [[55.0, 20, -30], [55, 70, 90], [30, -80, 10], [80, 10, -90]]
    labs = jnp.array(labs)
    jacobians = jax.jit(jax.vmap(jax.jacobian(color.lab_to_srgb)))(labs)
    step = 1e-4 * jnp.eye(3)[None]
    above, below = (to_srgb(labs[:, None] + s * step) for s in (1, -1))
    numeric = np.swapaxes((above - below) / 2e-4, 1, 2)
    # A channel on the surface of the cube may be clipped on one side only.
    rgb = to_srgb(labs)
    free = np.array((rgb > 1e-3) & (rgb < 0.999))
    assert free[0].all() and free[1:].sum(axis=1).min() == 2
    np.testing.assert_allclose(jacobians[free], numeric[free], atol=1e-3)


def test_uint8_round_trip_and_rounding():
  levels = np.arange(256, dtype=np.uint8)
  unit = color.from_uint8(levels)
  assert unit.dtype == np.float32
  np.testing.assert_array_equal(color.to_uint8(unit), levels)
  near = jnp.array([0.6, 0.4, 254.6, -3.0, 300.0]) / 255
  np.testing.assert_array_equal(color.to_uint8(near), [1, 0, 255, 0, 255])


def test_bad_input_raises():
  with pytest.raises(ValueError, match=r"shape \[\.\.\., 3\], got \(4, 2\)"):
    color.srgb_to_lab(jnp.zeros((4, 2)))
  with pytest.raises(ValueError, match="uint8: convert pixels with from_uint8"):
    color.srgb_to_lab(jnp.zeros((4, 3), jnp.uint8))
  with pytest.raises(ValueError, match="expected uint8 pixels, got float32"):
    color.from_uint8(jnp.zeros((4, 3)))
  with pytest.raises(ValueError, match="'hue': pass one of chroma, clip"):
    to_srgb(jnp.zeros((4, 3)), gamut="hue")
