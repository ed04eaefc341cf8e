"""From numbers per image to a split's number, and how sure it is.

A split is summarised once, over all of its images: no number depends on the
batch size or on padding.
"""

import numpy as np


def as_mask(mask, size):
  """Returns ``[size]`` booleans of zeros and ones; all true for None."""
  if mask is None:
    return np.ones(size, bool)
  mask = np.asarray(mask)
  if mask.shape != (size,) or not np.isin(mask, (0, 1)).all():
    raise ValueError(
      f"mask must be [{size}] zeros and ones, one per image; got shape"
      f" {mask.shape} of {mask.dtype}."
    )
  return mask.astype(bool)


def reduce(values, reduction):
  """One number of ``[N]``: its "mean", "root mean square" or "max"."""
  if reduction == "mean":
    return float(np.mean(values))
  if reduction == "root mean square":
    return float(np.sqrt(np.mean(np.square(values))))
  if reduction == "max":
    return float(np.max(values))
  raise ValueError(
    f"reduction is {reduction!r}; expected 'mean', 'root mean square' or 'max'."
  )


def bootstrap_error(values, reduction="mean", resamples=256, seed=0):
  """Standard error of a split's number by resampling its images.

  Args:
    values: ``[N]``, one per image.
    reduction: as in `reduce`.
    resamples: how often N images are drawn with replacement.
    seed: one seed draws the same images for every metric and method of a split,
      so that comparing them does not compare the resampling.

  Returns:
    The standard deviation (divisor `resamples`) of the resampled numbers; None
    where it would say nothing: below two images, and for "max".
  """
  drawn = _resampled(values, reduction, resamples, seed)
  return None if drawn is None else float(np.std(drawn))


def bootstrap_interval(
  values, reduction="mean", resamples=1000, seed=0, level=0.95
):
  """Central interval of a split's number by resampling its images.

  Arguments and None as in `bootstrap_error`; (low, high) are percentiles of the
  resampled numbers.
  """
  drawn = _resampled(values, reduction, resamples, seed)
  if drawn is None:
    return None
  low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)


def _resampled(values, reduction, resamples, seed):
  values = np.asarray(values, np.float64)
  size = len(values)
  if size < 2 or reduction == "max":
    return None
  rng = np.random.default_rng(seed)
  draws = (rng.integers(size, size=size) for _ in range(resamples))
  return [reduce(values[draw], reduction) for draw in draws]


class Accumulator:
  """Collects values per image over batches; summarises the whole split once.

  Attributes:
    count: the number of images so far, padding not counted.
  """

  def __init__(self, reductions):
    """Expects the metrics of ``{name: reduction}``, each as in `reduce`."""
    self._reductions = dict(reductions)
    self._batches = {name: [] for name in self._reductions}
    self.count = 0

  def add(self, values, mask=None):
    """Adds a batch of ``{name: [B]}``; `mask` ``[B]`` is true for real images.

    Raises:
      ValueError: for other names or lengths than expected, and for a real image
        whose value is not finite: nothing is averaged around.
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
    kept = {name: value[keep] for name, value in values.items()}
    for name, value in kept.items():
      bad = np.flatnonzero(~np.isfinite(value))
      if bad.size:
        raise ValueError(
          f"{name} is {value[bad[0]]} for image {self.count + bad[0]} of the"
          " split; expected a finite number. Look at what was sampled there."
        )
    for name, value in kept.items():
      self._batches[name].append(value)
    self.count += int(keep.sum())

  def values(self, name):
    """Returns one metric's values, ``[N]``, in the order they came."""
    return np.concatenate([np.zeros(0), *self._batches[name]])

  def summary(self, seed=0):
    """Returns ``{name: (number of the split, standard error or None)}``."""
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

  def intervals(self, seed=0):
    """Returns ``{name: (low, high)}``, 95 %, where images can be resampled."""
    found = {
      name: bootstrap_interval(self.values(name), reduction, seed=seed)
      for name, reduction in self._reductions.items()
    }
    return {name: interval for name, interval in found.items() if interval}
