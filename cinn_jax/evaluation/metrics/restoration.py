"""Errors, diversity and calibration of pictures drawn for given pictures.

Truth is [B, H, W, 3], a picture of it too; samples are [B, n, H, W, 3]; all are
RGB, uint8 or float in [0, 1], and everything is float64 per image. Numbers are
in the 8-bit range, 0 to 255, as the field prints them; `metrics` has those of
the cINN papers, in percent.
"""

import math

import numpy as np
from skimage.metrics import structural_similarity

from cinn_jax.evaluation.metrics import calibration
from cinn_jax.evaluation.metrics.cinn_protocol import as_unit

LEVELS = 255.0
# What equal pictures count as, in dB: their PSNR is infinite.
EXACT = 100.0


def rmse(truth, picture):
  """Root mean squared error per image, 0 to 255: [B]."""
  return LEVELS * np.sqrt(_squared_error(truth, picture))


def psnr(truth, picture):
  """Peak signal-to-noise ratio per image in dB, RGB, no border cut: [B].

  10 log10(255^2 / MSE), at most `EXACT`.
  """
  with np.errstate(divide="ignore"):
    return bounded(-10 * np.log10(_squared_error(truth, picture)))


def bounded(decibels):
  """dB of at most `EXACT`, float64."""
  return np.minimum(np.asarray(decibels, np.float64), EXACT)


def ssim(truth, picture):
  """Structural similarity per image, mean over channels: [B].

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


def pixel_std(samples):
  """Standard deviation over the samples, 0 to 255, mean over pixels: [B].

  Of divisor n - 1, as in the published code of CAFLOW and HCFlow.

  Raises:
    ValueError: for fewer than two samples.
  """
  samples = as_unit(samples, 5, "samples")
  if samples.shape[1] < 2:
    raise ValueError(
      f"Diversity takes at least 2 samples, got {samples.shape[1]}."
    )
  # About the first sample, so that equal samples have none at all.
  spread = (samples - samples[:, :1]).std(axis=1, ddof=1)
  return LEVELS * spread.mean(axis=(1, 2, 3))


def ntire_diversity(maps):
  """How much better the best sample per place is than the best sample: [B], %.

  (Lugmayr et al. 2021, NTIRE 2021 learning the super-resolution space.)
  100 (global - local) / global: the least mean distance to the truth of any
  sample, and the mean of the least distances of any sample at each pixel.

  Args:
    maps: distances to the truth [B, n, H, W], such as LPIPS's.
  """
  maps = np.asarray(maps, np.float64)
  best = maps.mean(axis=(2, 3)).min(axis=1)
  local = maps.min(axis=1).mean(axis=(1, 2))
  # A sample that is the truth cannot be bettered anywhere.
  return 100 * np.where(best > 0, 1 - local / np.where(best > 0, best, 1), 0)


def region_means(pictures, grid: int = 4):
  """Means over grid x grid regions, by channel: [..., H, W, 3] to [..., D].

  Regions differ by at most a pixel in height and width.
  """
  pictures = np.asarray(pictures, np.float64)
  rows = np.array_split(pictures, grid, axis=-3)
  cells = [cell for row in rows for cell in np.array_split(row, grid, axis=-2)]
  means = [cell.mean(axis=(-3, -2)) for cell in cells]
  return np.concatenate(means, axis=-1)


def coverage(truth, samples, level: float, grid: int = 4):
  """How often the samples' central interval holds a region's mean: [B], in %.

  Per image, over regions and channels; right is 100 `level`. From the truth's
  rank among n samples, which is uniform over n + 1 places, the first and last
  of them outside all samples; a place counts by its share that lies inside the
  central interval. Regions that were given (where samples and truth are all
  equal) do not count; an image that has no others counts as `level`.

  Raises:
    ValueError: for fewer samples than `samples_for(level)`.
  """
  if np.shape(samples)[1] < samples_for(level):
    raise ValueError(
      f"Coverage of {level:.0%} intervals takes {samples_for(level)} samples,"
      f" got {np.shape(samples)[1]}."
    )
  wanted = region_means(as_unit(truth, 4, "truth"), grid)
  drawn = region_means(as_unit(samples, 5, "samples"), grid)
  lowest, highest = drawn.min(axis=1), drawn.max(axis=1)
  counts = ~((lowest == wanted) & (highest == wanted))
  ranks = calibration.sbc_ranks(wanted, drawn)
  ties = np.sum(drawn == wanted[:, None], axis=1)
  places = drawn.shape[1] + 1
  low, high = (1 - level) / 2, (1 + level) / 2
  start, end = ranks / places, (ranks + ties + 1) / places
  inside = np.minimum(end, high) - np.maximum(start, low)
  held = np.clip(inside / (end - start), 0, 1)
  total = np.sum(held * counts, axis=1) + level * ~counts.any(axis=1)
  return 100 * total / np.maximum(counts.sum(axis=1), 1)


def samples_for(level: float) -> int:
  """How many samples reach as far as their central interval of this level."""
  return math.ceil(round((1 + level) / (1 - level), 6))


def _squared_error(truth, picture):
  truth, picture = as_unit(truth, 4, "truth"), as_unit(picture, 4, "picture")
  if truth.shape != picture.shape:
    raise ValueError(
      f"Pictures to compare have one shape, got {truth.shape} and"
      f" {picture.shape}."
    )
  return np.square(picture - truth).mean(axis=(1, 2, 3))
