"""Errors, diversity and calibration of samples of image-to-image tasks.

Truth and pictures are [B, H, W, 3], samples [B, n, H, W, 3]; all are RGB, uint8
or float in [0, 1]. Results are float64, one value per image. They are in the
8-bit range, 0 to 255, as the field prints them; `cinn_protocol` has the metrics
of the cINN papers, in percent.
"""

import math

import numpy as np
from skimage.metrics import structural_similarity

from cinn_jax.evaluation.metrics import calibration
from cinn_jax.evaluation.metrics.cinn_protocol import as_unit

LEVELS = 255.0
# The PSNR of equal pictures is infinite; they count as this many dB.
EXACT = 100.0


def rmse(truth: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """Returns the root mean squared error per image, 0 to 255: [B]."""
  return LEVELS * np.sqrt(_squared_error(truth, picture))


def psnr(truth: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """Returns the peak signal-to-noise ratio per image in dB: [B].

  10 log10(255^2 / MSE) of RGB, at most `EXACT`; no border is cut.
  """
  with np.errstate(divide="ignore"):
    # Adding 0 turns the -0.0 of opposite pictures into 0.0.
    return bounded(-10 * np.log10(_squared_error(truth, picture)) + 0.0)


def bounded(decibels: np.ndarray) -> np.ndarray:
  """Limits dB to at most `EXACT`; float64."""
  return np.minimum(np.asarray(decibels, np.float64), EXACT)


def ssim(truth: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """Returns the structural similarity per image, mean over channels: [B].

  (Wang et al. 2004: Gaussian window of 11x11, sigma 1.5, population covariance,
  K = (0.01, 0.03).)

  Raises:
    ValueError: for pictures smaller than the window.
  """
  truth, picture = as_unit(truth, 4, "truth"), as_unit(picture, 4, "picture")
  return np.array(
    [
      structural_similarity(
        *pair,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
      )
      for pair in zip(truth, picture, strict=True)
    ]
  )


def pixel_std(samples: np.ndarray) -> np.ndarray:
  """Returns the standard deviation over the samples, 0 to 255: [B].

  It is the mean over pixels, with divisor n - 1 as in the published code of
  CAFLOW and HCFlow.

  Raises:
    ValueError: for fewer than two samples.
  """
  samples = as_unit(samples, 5, "samples")
  if samples.shape[1] < 2:
    raise ValueError(
      f"Diversity needs at least 2 samples, got {samples.shape[1]}."
    )
  # Relative to the first sample, so that equal samples have none at all.
  spread = (samples - samples[:, :1]).std(axis=1, ddof=1)
  return LEVELS * spread.mean(axis=(1, 2, 3))


def ntire_diversity(maps: np.ndarray) -> np.ndarray:
  """Returns how much the best sample per pixel beats the best sample: [B], %.

  It is 100 (global - local) / global. "Global" is the smallest mean distance of
  any sample to the truth. "Local" is the mean over pixels of the smallest
  distance of any sample there (Lugmayr et al. 2021, NTIRE 2021 learning the
  super-resolution space).

  Args:
    maps: Distances to the truth [B, n, H, W], such as LPIPS's.
  """
  maps = np.asarray(maps, np.float64)
  best = maps.mean(axis=(2, 3)).min(axis=1)
  local = maps.min(axis=1).mean(axis=(1, 2))
  # Nothing beats a sample that equals the truth.
  return 100 * np.where(best > 0, 1 - local / np.where(best > 0, best, 1), 0)


def region_means(pictures: np.ndarray, grid: int = 4) -> np.ndarray:
  """Averages grid x grid regions by channel: [..., H, W, 3] to [..., D].

  Regions differ by at most one pixel in height and width.
  """
  pictures = np.asarray(pictures, np.float64)
  rows = np.array_split(pictures, grid, axis=-3)
  cells = [cell for row in rows for cell in np.array_split(row, grid, axis=-2)]
  means = [cell.mean(axis=(-3, -2)) for cell in cells]
  return np.concatenate(means, axis=-1)


def coverage(
  truth: np.ndarray, samples: np.ndarray, level: float, grid: int = 4
) -> np.ndarray:
  """Returns how often the central interval holds a region's mean: [B], in %.

  Each image's value is over regions and channels; 100 `level` is ideal. It is
  computed from the truth's rank among the n samples, which is ideally uniform
  over n + 1 places, the first and the last of them outside all samples. A place
  counts by the share of it that is inside the central interval. A region does
  not count if it was given, so that samples and truth are all equal. An image
  with no other regions counts as `level`.

  Args:
    truth: [B, H, W, 3].
    samples: [B, n, H, W, 3].
    level: Level of the central interval of the samples.
    grid: Regions per side.

  Raises:
    ValueError: for fewer samples than `samples_for(level)`.
  """
  if np.shape(samples)[1] < samples_for(level):
    raise ValueError(
      f"Coverage of {level:.0%} intervals needs {samples_for(level)} samples,"
      f" got {np.shape(samples)[1]}."
    )
  target = region_means(as_unit(truth, 4, "truth"), grid)
  draws = region_means(as_unit(samples, 5, "samples"), grid)
  lowest, highest = draws.min(axis=1), draws.max(axis=1)
  counts = ~((lowest == target) & (highest == target))
  ranks = calibration.sbc_ranks(target, draws)
  ties = np.sum(draws == target[:, None], axis=1)
  places = draws.shape[1] + 1
  low, high = (1 - level) / 2, (1 + level) / 2
  start, end = ranks / places, (ranks + ties + 1) / places
  inside = np.minimum(end, high) - np.maximum(start, low)
  share = np.clip(inside / (end - start), 0, 1)
  total = np.sum(share * counts, axis=1) + level * ~counts.any(axis=1)
  return 100 * total / np.maximum(counts.sum(axis=1), 1)


def samples_for(level: float) -> int:
  """Returns how many samples a central interval of this level needs."""
  return math.ceil(round((1 + level) / (1 - level), 6))


def _squared_error(truth, picture):
  truth, picture = as_unit(truth, 4, "truth"), as_unit(picture, 4, "picture")
  if truth.shape != picture.shape:
    raise ValueError(
      f"Pictures to compare must have one shape, got {truth.shape} and"
      f" {picture.shape}."
    )
  return np.square(picture - truth).mean(axis=(1, 2, 3))
