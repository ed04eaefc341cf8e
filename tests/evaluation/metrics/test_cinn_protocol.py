"""Metrics of the cINN papers, by hand and against plain loops."""

import numpy as np
import pytest
import skimage.color
import skimage.data

from cinn_jax.evaluation.metrics import cinn_protocol

# One image of one pixel: truth 0.5 in every channel, and two samples whose
# squared errors are (0.01, 0.04, 0.09) and (0.16, 0.01, 0).
TRUTH = np.full((1, 1, 1, 3), 0.5)
SAMPLES = np.array([[0.6, 0.3, 0.8], [0.1, 0.6, 0.5]]).reshape(1, 2, 1, 1, 3)
SQUARED = cinn_protocol.squared_error(TRUTH, SAMPLES)


def random_pictures(images=3, draws=4, height=5, width=6, seed=0):
  rng = np.random.default_rng(seed)
  shape = (height, width, 3)
  truth = rng.integers(0, 256, (images, *shape), dtype=np.uint8)
  return truth, rng.integers(0, 256, (images, draws, *shape), dtype=np.uint8)


def brute_force(truth, samples):
  """Computes one image's metrics from their definitions in plain Python."""
  target = [value / 255 for value in truth.ravel().tolist()]
  draws = [[v / 255 for v in draw.ravel().tolist()] for draw in samples]
  size, n = len(target), len(draws)
  errors = [
    [(x - y) ** 2 for x, y in zip(draw, target, strict=True)] for draw in draws
  ]
  rmses = [100 * (sum(error) / size) ** 0.5 for error in errors]
  best = sum(min(error[p] for error in errors) for p in range(size))
  spread = 0.0
  for p in range(size):
    mean = sum(draw[p] for draw in draws) / n
    spread += sum((draw[p] - mean) ** 2 for draw in draws) / n
  return {
    "single": rmses[0],
    "mean": sum(rmses) / n,
    "image": min(rmses),
    "pixel": 100 * (best / size) ** 0.5,
    "variance": 1e4 * spread / size,
  }


def test_by_hand():
  first, second = 0.14 / 3, 0.17 / 3
  rmses = 100 * np.sqrt([first, second])
  np.testing.assert_allclose(cinn_protocol.single_rmse(SQUARED), rmses[:1])
  np.testing.assert_allclose(cinn_protocol.mean_rmse(SQUARED), [rmses.mean()])
  np.testing.assert_allclose(
    cinn_protocol.best_of_n_per_image(SQUARED), rmses[:1]
  )
  best = 100 * np.sqrt((0.01 + 0.01 + 0.0) / 3)
  np.testing.assert_allclose(cinn_protocol.best_of_n_per_pixel(SQUARED), [best])
  # Both samples are 0.25, 0.15 and 0.15 from their mean.
  spread = (0.0625 + 0.0225 + 0.0225) / 3
  np.testing.assert_allclose(cinn_protocol.variance(SAMPLES), [1e4 * spread])
  np.testing.assert_allclose(cinn_protocol.variance(SAMPLES, 1), [2e4 * spread])


def test_best_of_n_ignores_the_order():
  swapped = cinn_protocol.squared_error(TRUTH, SAMPLES[:, ::-1])
  np.testing.assert_array_equal(
    cinn_protocol.best_of_n_per_image(swapped),
    cinn_protocol.best_of_n_per_image(SQUARED),
  )
  assert cinn_protocol.single_rmse(swapped) > cinn_protocol.single_rmse(SQUARED)


def test_against_loops():
  truth, samples = random_pictures()
  squared = cinn_protocol.squared_error(truth, samples)
  images = [brute_force(*pair) for pair in zip(truth, samples, strict=True)]
  for values, name in (
    (cinn_protocol.single_rmse(squared), "single"),
    (cinn_protocol.mean_rmse(squared), "mean"),
    (cinn_protocol.best_of_n_per_image(squared), "image"),
    (cinn_protocol.best_of_n_per_pixel(squared), "pixel"),
    (cinn_protocol.variance(samples), "variance"),
  ):
    expected = [image[name] for image in images]
    np.testing.assert_allclose(values, expected, rtol=1e-12, err_msg=name)


def test_uint8_and_float_agree():
  truth, samples = random_pictures()
  np.testing.assert_allclose(
    cinn_protocol.squared_error(truth, samples),
    cinn_protocol.squared_error(truth / 255, np.float32(samples / 255)),
    atol=1e-6,
  )


def test_truth_as_a_sample_has_no_error():
  truth, _ = random_pictures()
  samples = np.repeat(truth[:, None], 3, axis=1)
  squared = cinn_protocol.squared_error(truth, samples)
  assert not squared.any()
  assert not cinn_protocol.variance(samples).any()
  for values in cinn_protocol.lightness_error(truth, samples):
    assert not values.any()


def test_lightness_error_against_skimage():
  picture = skimage.data.astronaut()[::16, ::16]
  truth = np.stack([picture, picture[::-1]])
  samples = np.stack([truth[:, :, ::-1], np.roll(truth, 1, axis=-1)], axis=1)
  mean, largest = cinn_protocol.lightness_error(truth, samples)
  light = skimage.color.rgb2lab
  error = np.abs(light(samples)[..., 0] - light(truth)[:, None, ..., 0])
  np.testing.assert_allclose(mean, error.mean(axis=(1, 2, 3)), atol=1e-3)
  np.testing.assert_allclose(largest, error.max(axis=(1, 2, 3)), atol=1e-3)
  assert (largest > 2 * mean).all() and (mean > 1).all()


def test_lightness_error_with_another_lightness():
  mean, largest = cinn_protocol.lightness_error(
    TRUTH, SAMPLES, lambda rgb: 10 * rgb[..., 0]
  )
  np.testing.assert_allclose([*mean, *largest], [2.5, 4.0])


@pytest.mark.parametrize(
  ("truth", "samples", "message"),
  [
    (TRUTH * 255, SAMPLES, r"truth must lie in \[0, 1\]; got .* 127.5"),
    (TRUTH, SAMPLES * np.nan, "samples must lie in"),
    (TRUTH, -SAMPLES, "samples must lie in"),
    (TRUTH.astype(int), SAMPLES, "truth must be uint8"),
    (TRUTH[0], SAMPLES, "truth must have 4 dimensions"),
    (TRUTH, SAMPLES[..., :1], "samples must have 5 dimensions"),
    (TRUTH, np.zeros((1, 2, 1, 2, 3)), "samples must be"),
    (TRUTH, np.zeros((2, 2, 1, 1, 3)), "samples must be"),
    (TRUTH, np.zeros((1, 0, 1, 1, 3)), "no sample"),
  ],
)
def test_bad_pictures_raise(truth, samples, message):
  with pytest.raises(ValueError, match=message) as error:
    cinn_protocol.squared_error(truth, samples)
  assert "\n" not in str(error.value)


def test_unbiased_variance_of_one_sample_raises():
  with pytest.raises(ValueError, match="more than 1 samples; got 1"):
    cinn_protocol.variance(SAMPLES[:, :1], ddof=1)
