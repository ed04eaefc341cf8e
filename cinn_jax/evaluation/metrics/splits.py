"""Summaries of numbers per image over a split, and their uncertainty.

A split is summarised once, over all of its images, so no number depends on the
batch size or on padding.
"""

from collections.abc import Mapping

import numpy as np


def as_mask(mask: np.ndarray | None, size: int) -> np.ndarray:
  """Converts a mask of zeros and ones to booleans ``[size]``.

  None means all true.

  Raises:
    ValueError: for another shape or other values.
  """
  if mask is None:
    return np.ones(size, bool)
  mask = np.asarray(mask)
  if mask.shape != (size,) or not np.isin(mask, (0, 1)).all():
    raise ValueError(
      f"mask must be [{size}] zeros and ones, one per image; got shape"
      f" {mask.shape} of {mask.dtype}."
    )
  return mask.astype(bool)


def reduce(values: np.ndarray, reduction: str) -> float:
  """Reduces ``[N]`` to its "mean", "root mean square" or "max"."""
  if reduction == "mean":
    return float(np.mean(values))
  if reduction == "root mean square":
    return float(np.sqrt(np.mean(np.square(values))))
  if reduction == "max":
    return float(np.max(values))
  raise ValueError(
    f"reduction is {reduction!r}; expected 'mean', 'root mean square' or 'max'."
  )


def bootstrap_error(
  values: np.ndarray,
  reduction: str = "mean",
  resamples: int = 256,
  seed: int = 0,
) -> float | None:
  """Returns the standard error of a split's number by resampling its images.

  Args:
    values: ``[N]``, one per image.
    reduction: See `reduce`.
    resamples: How many times N images are drawn with replacement.
    seed: Seed for the resampling. The same seed draws the same images for every
      metric and method of a split, so that they can be compared.

  Returns:
    The standard deviation (divisor `resamples`) of the resampled numbers. None
    if it has no meaning: below two images, and for "max".
  """
  numbers = _resample(values, reduction, resamples, seed)
  return None if numbers is None else float(np.std(numbers))


def bootstrap_interval(
  values: np.ndarray,
  reduction: str = "mean",
  resamples: int = 1000,
  seed: int = 0,
  level: float = 0.95,
) -> tuple[float, float] | None:
  """Returns the central interval of a split's number by resampling its images.

  Args:
    values: ``[N]``, one per image.
    reduction: See `reduce`.
    resamples: How many times N images are drawn with replacement.
    seed: Seed for the resampling, see `bootstrap_error`.
    level: Share of the resampled numbers inside the interval.

  Returns:
    (low, high), percentiles of the resampled numbers; None as for
    `bootstrap_error`.
  """
  numbers = _resample(values, reduction, resamples, seed)
  if numbers is None:
    return None
  low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)


def _resample(values, reduction, resamples, seed):
  values = np.asarray(values, np.float64)
  size = len(values)
  if size < 2 or reduction == "max":
    return None
  rng = np.random.default_rng(seed)
  draws = (rng.integers(size, size=size) for _ in range(resamples))
  return [reduce(values[draw], reduction) for draw in draws]


class Accumulator:
  """Collects values per image over batches, then summarises the whole split.

  Attributes:
    count: Number of images so far, without padding.
  """

  def __init__(self, reductions: Mapping[str, str]):
    """Prepares for the metrics of ``{name: reduction}``, see `reduce`."""
    self._reductions = dict(reductions)
    self._batches: dict[str, list] = {name: [] for name in self._reductions}
    self.count = 0

  def add(
    self, values: Mapping[str, np.ndarray], mask: np.ndarray | None = None
  ) -> None:
    """Adds a batch of ``{name: [B]}``; `mask` ``[B]`` is true for real images.

    Raises:
      ValueError: for other names or lengths than expected, and for a real image
        whose value is not finite: no image is silently left out.
    """
    if set(values) != set(self._reductions):
      raise ValueError(
        f"expected values of {sorted(self._reductions)}; got {sorted(values)}."
      )
    values = {k: np.asarray(v, np.float64) for k, v in values.items()}
    shapes = {value.shape for value in values.values()}
    if len(shapes) != 1 or len(size := shapes.pop()) != 1:
      got = {k: v.shape for k, v in values.items()}
      raise ValueError(f"expected one value per image, [B]; got shapes {got}.")
    keep = as_mask(mask, *size)
    real = {name: value[keep] for name, value in values.items()}
    for name, value in real.items():
      bad = np.flatnonzero(~np.isfinite(value))
      if bad.size:
        raise ValueError(
          f"{name} is {value[bad[0]]} for image {self.count + bad[0]} of the"
          " split; expected a finite number. Look at what was sampled there."
        )
    for name, value in real.items():
      self._batches[name].append(value)
    self.count += int(keep.sum())

  def values(self, name: str) -> np.ndarray:
    """Returns one metric's values, ``[N]``, in the order of the images."""
    return np.concatenate([np.zeros(0), *self._batches[name]])

  def summary(self, seed: int = 0) -> dict[str, tuple[float, float | None]]:
    """Returns ``{name: (number of the split, standard error or None)}``.

    Raises:
      ValueError: if no image was added.
    """
    if not self.count:
      raise ValueError(
        "no image was evaluated: the split or its mask is empty."
      )
    summary = {}
    for name, reduction in self._reductions.items():
      values = self.values(name)
      error = bootstrap_error(values, reduction, seed=seed)
      summary[name] = reduce(values, reduction), error
    return summary

  def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Returns ``{name: (low, high)}``, 95 %, of the metrics that have one."""
    intervals = {
      name: bootstrap_interval(self.values(name), reduction, seed=seed)
      for name, reduction in self._reductions.items()
    }
    return {name: pair for name, pair in intervals.items() if pair}
