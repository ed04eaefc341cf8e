"""Metrics of image-to-image samples, by hand and against scikit-image."""

import numpy as np
import pytest
import scipy.ndimage
from skimage.metrics import peak_signal_noise_ratio

from cinn_jax.evaluation.metrics import restoration as m


def _pictures(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_errors_by_hand():
  truth = np.full((2, 4, 4, 3), 100, np.uint8)
  picture = truth.copy()
  picture[0, ..., 0] += 6
  picture[1, :2] += 10
  np.testing.assert_allclose(m.rmse(truth, picture), [12**0.5, 50**0.5])
  expected = [
    peak_signal_noise_ratio(*p) for p in zip(truth, picture, strict=True)
  ]
  np.testing.assert_allclose(m.psnr(truth, picture), expected)
  # The mean of the images' roots, not the root of their mean.
  assert m.rmse(truth, picture).mean() < 31**0.5


def test_equal_pictures():
  truth = _pictures(2, 16, 16, 3)
  np.testing.assert_array_equal(m.psnr(truth, truth), [100, 100])
  np.testing.assert_allclose(m.ssim(truth, truth), [1, 1])
  assert m.rmse(truth, truth).max() == 0


def _ssim_by_definition(a, b):
  """Computes SSIM (Wang et al. 2004, equation 13) without the border."""
  window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
  window = np.outer(window, window) / window.sum() ** 2

  def mean(x):
    return scipy.ndimage.convolve(x, window)[5:-5, 5:-5]

  means = mean(a), mean(b)
  variances = [mean(x**2) - mu**2 for x, mu in zip((a, b), means, strict=True)]
  covariance = mean(a * b) - means[0] * means[1]
  c1, c2 = 0.01**2, 0.03**2
  return np.mean(
    (2 * means[0] * means[1] + c1)
    * (2 * covariance + c2)
    / ((means[0] ** 2 + means[1] ** 2 + c1) * (sum(variances) + c2))
  )


def test_psnr_of_opposite_pictures_is_zero_without_a_sign():
  black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255)
  [value] = m.psnr(black, white.astype(np.uint8))
  assert value == 0 and not np.signbit(value)


def test_ssim_by_definition():
  truth = _pictures(2, 24, 20, 3)
  noise = _pictures(2, 24, 20, 3, seed=1)
  picture = (0.7 * truth + 0.3 * noise).astype(np.uint8)
  expected = [
    np.mean([_ssim_by_definition(a[..., c], b[..., c]) for c in range(3)])
    for a, b in zip(truth / 255, picture / 255, strict=True)
  ]
  np.testing.assert_allclose(m.ssim(truth, picture), expected, rtol=1e-9)
  with pytest.raises(ValueError, match="win_size"):
    m.ssim(truth[:, :8], picture[:, :8])


def test_pixel_std():
  samples = _pictures(2, 5, 4, 4, 3)
  expected = samples.astype(float).std(axis=1, ddof=1).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(m.pixel_std(samples), expected)
  equal = np.repeat(samples[:, :1] / 255, 3, axis=1)
  assert m.pixel_std(equal).max() == 0
  with pytest.raises(ValueError, match="at least 2 samples"):
    m.pixel_std(samples[:, :1])


def test_ntire_diversity_by_hand():
  # Two samples, each good on one half: globally 0.5, locally 0.1.
  maps = np.full((1, 2, 2, 2), 0.1)
  maps[0, 0, 0] = maps[0, 1, 1] = 0.9
  np.testing.assert_allclose(m.ntire_diversity(maps), [80.0])
  np.testing.assert_array_equal(m.ntire_diversity(maps[:, :1]), [0.0])
  np.testing.assert_array_equal(m.ntire_diversity(0 * maps), [0.0])


def test_region_means():
  picture = np.zeros((1, 5, 6, 3))
  picture[0, :3, :3] = 1.0, 2.0, 3.0
  picture[0, 3:, 3:, 1] = 6.0
  expected = [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 6, 0]
  np.testing.assert_allclose(m.region_means(picture, 2), [expected])


def _draw(count, n, truth_scale=1.0, seed=0):
  """Draws truth and samples; `truth_scale` changes the truth's deviation."""
  rng = np.random.default_rng(seed)
  draws = rng.normal(size=(count, n + 1, 4, 4, 3))
  draws[:, 0] *= truth_scale
  draws = np.clip(0.5 + 0.05 * draws, 0, 1)
  return draws[:, 0], draws[:, 1:]


@pytest.mark.parametrize(
  ("level", "n"), [(0.5, 3), (0.5, 8), (0.8, 9), (0.8, 12), (0.9, 19)]
)
def test_coverage_of_correct_samples(level, n):
  truth, samples = _draw(600, n)
  values = m.coverage(truth, samples, level)
  # 48 independent regions and channels per image.
  assert values.mean() == pytest.approx(100 * level, abs=1.5)
  narrow = m.coverage(*_draw(100, n, truth_scale=3.0), level)
  wide = m.coverage(*_draw(100, n, truth_scale=0.3), level)
  assert narrow.mean() < 100 * level - 10 < 100 * level + 5 < wide.mean()


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_coverage_with_many_ties(level):
  draws = np.random.default_rng(0).integers(0, 4, (2000, 10, 4, 4, 3)) / 3
  values = m.coverage(draws[:, 0], draws[:, 1:], level)
  assert values.mean() == pytest.approx(100 * level, abs=0.7)


def test_given_regions_do_not_count():
  truth, samples = _draw(400, 9, truth_scale=3.0)
  alone = m.coverage(truth[:, :2], samples[:, :, :2], 0.8, grid=2)
  samples[:, :, 2:] = truth[:, None, 2:]
  given = m.coverage(truth, samples, 0.8, grid=4)
  # If the given regions counted, coverage would be above 58.
  assert given.mean() == pytest.approx(alone.mean(), abs=2)
  assert alone.mean() < 45
  samples[:, :, :2] = truth[:, None, :2]
  np.testing.assert_allclose(m.coverage(truth, samples, 0.8), 80.0)


def test_equal_wrong_samples_cover_nothing():
  truth, samples = _draw(5, 19)
  samples[:] = samples[:, :1]
  assert m.coverage(truth, samples, 0.9).max() < 1e-9


def test_each_level_needs_enough_samples():
  assert [m.samples_for(level) for level in (0.5, 0.8, 0.9)] == [3, 9, 19]
  truth, samples = _draw(2, 8)
  with pytest.raises(ValueError, match="80% intervals needs 9 samples, got 8"):
    m.coverage(truth, samples, 0.8)


def test_different_shapes_raise():
  truth = _pictures(2, 4, 4, 3)
  with pytest.raises(ValueError, match="must have one shape"):
    m.rmse(truth, truth[:1])
