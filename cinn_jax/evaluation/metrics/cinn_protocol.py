"""Errors and diversity of samples per image, as in the cINN papers.

`splits` summarises them. Pictures are RGB, uint8 or floats in [0, 1]: truth
``[B, H, W, 3]``, samples ``[B, n, H, W, 3]``. Everything is float64.

"Best of n" has two published definitions: the best whole image, and the best
sample of each pixel and channel. Both are here (Ardizzone et al. 2019,
arXiv:1907.02392, and the evaluation scripts published with it).
"""

from collections.abc import Callable

import jax
import numpy as np

from cinn_jax.images import color

# Units of the published tables: errors in percent of the range [0, 1],
# variances in 1e-4 of its square.
PERCENT = 100.0
VARIANCE_SCALE = 1e4


def as_unit(images: np.ndarray, rank: int, name: str) -> np.ndarray:
  """Converts RGB, uint8 or float in [0, 1], to float64 in [0, 1].

  Args:
    images: RGB of `rank` dimensions.
    rank: Number of dimensions.
    name: Name of the argument in error messages.

  Raises:
    ValueError: for another rank, type or number of channels, and for values
      outside [0, 1], including NaN.
  """
  images = np.asarray(images)
  if images.ndim != rank or images.shape[-1] != 3:
    raise ValueError(
      f"{name} must have {rank} dimensions, the last of size 3; got shape"
      f" {images.shape}."
    )
  if images.dtype == np.uint8:
    return images / 255.0
  if not np.issubdtype(images.dtype, np.floating):
    raise ValueError(
      f"{name} must be uint8, or float in [0, 1]; got {images.dtype}."
    )
  images = images.astype(np.float64, copy=False)
  if images.size and not (images.min() >= 0.0 and images.max() <= 1.0):
    raise ValueError(
      f"{name} must lie in [0, 1]; got values from {images.min():.6g} to"
      f" {images.max():.6g}. Clip the pictures, or pass them as uint8."
    )
  return images


def squared_error(truth: np.ndarray, samples: np.ndarray) -> np.ndarray:
  """Returns squared errors ``[B, n, H, W, 3]``, from which errors are computed.

  Pictures count in [0, 1].

  Raises:
    ValueError: for bad pictures, and for shapes that do not match.
  """
  truth, samples = as_unit(truth, 4, "truth"), as_unit(samples, 5, "samples")
  if samples.shape[:1] + samples.shape[2:] != truth.shape:
    raise ValueError(
      "samples must be [B, n, H, W, 3] of the truth's [B, H, W, 3]; got"
      f" {samples.shape} and {truth.shape}."
    )
  if samples.shape[1] == 0:
    raise ValueError("samples hold no sample (n = 0); pass at least one.")
  return np.square(samples - truth[:, None])


def rmse(squared: np.ndarray) -> np.ndarray:
  """Returns the RMSE of every sample in percent, ``[B, n]``."""
  return PERCENT * np.sqrt(squared.mean(axis=(2, 3, 4)))


def single_rmse(squared: np.ndarray) -> np.ndarray:
  """Returns the RMSE of each image's first sample in percent, ``[B]``."""
  return rmse(squared)[:, 0]


def mean_rmse(squared: np.ndarray) -> np.ndarray:
  """Returns the mean of the n samples' RMSE in percent, ``[B]``."""
  return rmse(squared).mean(axis=1)


def best_of_n_per_image(squared: np.ndarray) -> np.ndarray:
  """Returns the RMSE of each image's best whole sample in percent, ``[B]``."""
  return rmse(squared).min(axis=1)


def best_of_n_per_pixel(squared: np.ndarray) -> np.ndarray:
  """Returns the RMSE of the best sample per pixel and channel, ``[B]``.

  It is in percent.
  """
  return PERCENT * np.sqrt(squared.min(axis=1).mean(axis=(1, 2, 3)))


def variance(samples: np.ndarray, ddof: int = 0) -> np.ndarray:
  """Returns the variance over the samples, ``[B]``, times 1e4.

  It is the mean over pixels and channels. The published protocol divides by n,
  which is `ddof` 0. `ddof` 1 is the unbiased estimate, larger by n / (n - 1).
  """
  samples = as_unit(samples, 5, "samples")
  if samples.shape[1] <= ddof:
    raise ValueError(
      f"variance with ddof {ddof} needs more than {ddof} samples; got"
      f" {samples.shape[1]}."
    )
  # Relative to the first sample, so that equal samples have no variance at all.
  spread = (samples - samples[:, :1]).var(axis=1, ddof=ddof)
  return VARIANCE_SCALE * spread.mean(axis=(1, 2, 3))


_srgb_to_lightness = jax.jit(color.srgb_to_lightness)


def lightness(rgb: np.ndarray) -> np.ndarray:
  """Returns CIE L, 0 to 100, of RGB in [0, 1]: ``[..., 3]`` to ``[...]``."""
  rgb = np.asarray(rgb, np.float32)
  return np.asarray(_srgb_to_lightness(rgb), np.float64)


def lightness_error(
  truth: np.ndarray,
  samples: np.ndarray,
  to_lightness: Callable = lightness,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns |L(sample) - L(truth)| per image, in units of CIE L.

  Args:
    truth: ``[B, H, W, 3]``; its L is the condition, which samples must keep.
    samples: ``[B, n, H, W, 3]``.
    to_lightness: Function of RGB in [0, 1] ``[H, W, 3]`` to L ``[H, W]``. It
      gets one picture at a time, so that equal pictures get equal bits.

  Returns:
    ``(mean [B], max [B])`` over pixels and samples.
  """
  truth, samples = as_unit(truth, 4, "truth"), as_unit(samples, 5, "samples")
  means, maxima = [], []
  for picture, draws in zip(truth, samples, strict=True):
    expected = to_lightness(picture)
    error = np.abs([to_lightness(draw) - expected for draw in draws])
    means.append(error.mean())
    maxima.append(error.max())
  return np.array(means), np.array(maxima)
