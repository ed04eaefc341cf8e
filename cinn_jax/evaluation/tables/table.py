"""The table of an evaluation, one row per method; `records` keeps it as JSON.

A row is ours (measured here), quoted (printed elsewhere, not measured here) or
a reference (measured here of no model, such as grey pictures). What each column
means is written under the table and into the JSON.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cinn_jax.evaluation.metrics import cinn_protocol as m
from cinn_jax.evaluation.metrics import splits
from cinn_jax.evaluation.tables import markup

MARKS = ("ours", "quoted", "reference")


class Metric(NamedTuple):
  """How a column is read.

  `protocol` says what is computed per image, `reduction` how the images make
  the split's number (see `splits.reduce`).
  """

  title: str
  unit: str
  protocol: str
  reduction: str = "mean"


METRICS = {
  "single_rmse": Metric("RMSE of 1", "%", "RMSE of the first sample"),
  "mean_rmse": Metric("RMSE, mean of n", "%", "mean of the n samples' RMSE"),
  "best_of_n_per_image": Metric(
    "best of n by image", "%", "RMSE of the best whole sample"
  ),
  "best_of_n_per_image_pooled": Metric(
    "best of n by image, pooled",
    "%",
    "RMSE of the best whole sample (as in the published LSUN script)",
    "root mean square",
  ),
  "best_of_n_per_pixel": Metric(
    "best of n by pixel",
    "%",
    "root of the mean over pixels and channels of the smallest squared error of"
    " the n samples there (as in the published ImageNet script)",
  ),
  "variance": Metric(
    "variance",
    "1e-4",
    "variance over the n samples (divisor n), mean over pixels and channels",
  ),
  "lightness_error_mean": Metric(
    "L error, mean", "L", "mean of |L(sample) - L(truth)|"
  ),
  "lightness_error_max": Metric(
    "L error, max", "L", "largest |L(sample) - L(truth)|", "max"
  ),
}


class Row(NamedTuple):
  """One method's numbers.

  Attributes:
    metrics: ``{metric: (value, standard error or None)}``.
    mark: one of `MARKS`.
    images: the number of images behind the numbers; None where unknown.
    samples: n, the samples per image; None where unknown.
    intervals: ``{metric: (low, high)}``, 95 %, printed in place of the error.
  """

  metrics: Mapping[str, tuple[float, float | None]]
  mark: str = "ours"
  images: int | None = None
  samples: int | None = None
  intervals: Mapping[str, tuple[float, float]] | None = None


BRACKETS = "In brackets: 95 % intervals, by resampling the images."


def per_example(truth, samples, mask=None, to_lightness=m.lightness):
  """Every value of `METRICS` for each image that `mask` keeps.

  Args:
    truth: ``[B, H, W, 3]``, uint8 or float in [0, 1].
    samples: ``[B, n, H, W, 3]``.
    mask: ``[B]``, true for real images; padding is not looked at.
    to_lightness: see `metrics.lightness_error`.

  Returns:
    A dictionary with the keys of `METRICS`, float64 ``[images kept]``.
  """
  truth, samples = np.asarray(truth), np.asarray(samples)
  if len(samples) != len(truth):
    raise ValueError(
      f"truth and samples must hold the same images; got {len(truth)} and"
      f" {len(samples)}."
    )
  # One image at a time: n pictures in float64 are all that is ever held.
  images = [
    _one_image(truth[i : i + 1], samples[i : i + 1], to_lightness)
    for i in np.flatnonzero(splits.as_mask(mask, len(truth)))
  ]
  return {
    name: np.array([image[name].item() for image in images], np.float64)
    for name in METRICS
  }


def _one_image(truth, samples, to_lightness):
  truth = m.as_unit(truth, 4, "truth")
  samples = m.as_unit(samples, 5, "samples")
  squared = m.squared_error(truth, samples)
  best = m.best_of_n_per_image(squared)
  light_mean, light_max = m.lightness_error(truth, samples, to_lightness)
  return {
    "single_rmse": m.single_rmse(squared),
    "mean_rmse": m.mean_rmse(squared),
    "best_of_n_per_image": best,
    "best_of_n_per_image_pooled": best,
    "best_of_n_per_pixel": m.best_of_n_per_pixel(squared),
    "variance": m.variance(samples),
    "lightness_error_mean": light_mean,
    "lightness_error_max": light_max,
  }


class Method:
  """Measures one method over a whole split, batch by batch.

  Args:
    mark: one of `MARKS`.
    to_lightness: see `metrics.lightness_error`.
  """

  def __init__(self, mark="ours", to_lightness=m.lightness):
    self._mark, self._to_lightness = mark, to_lightness
    self._drawn = None
    self._split = splits.Accumulator(
      {name: metric.reduction for name, metric in METRICS.items()}
    )

  def add(self, truth, samples, mask=None):
    """Measures a batch; arguments as of `per_example`.

    Raises:
      ValueError: for bad pictures, or an n that changes.
    """
    self._split.add(per_example(truth, samples, mask, self._to_lightness))
    n = np.shape(samples)[1]
    if self._drawn not in (None, n):
      raise ValueError(
        f"a batch has {n} samples per image, the ones before {self._drawn}; the"
        " best of n needs one n for the whole split."
      )
    self._drawn = n

  def row(self, seed=0) -> Row:
    """Of all batches; `seed` is of the bootstrap.

    Raises:
      ValueError: where no image was kept.
    """
    split = self._split
    return Row(
      *(split.summary(seed), self._mark, split.count, self._drawn),
      split.intervals(seed),
    )


def check(rows, metrics=METRICS):
  """Raises ValueError for a row that cannot be printed as it stands."""
  for name, row in rows.items():
    if row.mark not in MARKS:
      raise ValueError(
        f"row {name!r} is marked {row.mark!r}; expected {', '.join(MARKS)}."
      )
    for metric, (value, error) in row.metrics.items():
      if metric not in metrics:
        raise ValueError(
          f"row {name!r} has {metric!r}, which no Metric describes; pass one in"
          " `metrics`."
        )
      if not math.isfinite(value) or not math.isfinite(error or 0.0):
        raise ValueError(
          f"{metric} of row {name!r} is {value} with standard error {error};"
          " expected finite numbers."
        )
    for metric, interval in (row.intervals or {}).items():
      if metric not in row.metrics or not np.isfinite(interval).all():
        raise ValueError(
          f"The interval of {metric} in row {name!r} is {interval}; expected"
          " two finite numbers of a metric of that row."
        )


def table(rows, metrics=METRICS):
  """Returns a Markdown table, aligned for plain reading, and its legend.

  Args:
    rows: ``{method: Row}``.
    metrics: ``{name: Metric}``, the columns in order; unused ones are left out.

  Values and intervals have 4 significant digits, standard errors 2.
  """
  body = markup.markdown(cells(rows, metrics))
  return "\n".join([body, "", *(f"- {line}" for line in legend(rows, metrics))])


def cells(rows, metrics=METRICS):
  """The table as rows of text, the head first; two columns are flush left."""
  check(rows, metrics)
  columns = _columns(rows, metrics)
  head = ["method", "source", "images", "n"]
  head += [f"{metrics[k].title} [{metrics[k].unit}]" for k in columns]
  lines = [head]
  for name, row in rows.items():
    counts = ["-" if c is None else f"{c:,}" for c in (row.images, row.samples)]
    numbers = [_cell(row, k) for k in columns]
    lines.append([name, row.mark, *counts, *numbers])
  return lines


def legend(rows, metrics=METRICS):
  """What each column of the table is, a line each."""
  lines = [
    f"{v.title}: {v.protocol}; over images: {v.reduction}."
    for v in (metrics[k] for k in _columns(rows, metrics))
  ]
  if any(row.intervals for row in rows.values()):
    lines.append(BRACKETS)
  return lines


def _columns(rows, metrics):
  return [k for k in metrics if any(k in r.metrics for r in rows.values())]


def _cell(row, metric):
  if metric not in row.metrics:
    return "-"
  value, error = row.metrics[metric]
  if interval := (row.intervals or {}).get(metric):
    return with_interval(value, interval)
  if error is None:
    return in_digits(value)
  return f"{in_digits(value)} ± {in_digits(error, 2)}"


def with_interval(value, interval):
  """A number and, in brackets, its interval."""
  low, high = map(in_digits, interval)
  return f"{in_digits(value)} [{low}, {high}]"


def in_digits(value, digits=4):
  """A number with so many significant digits."""
  return f"{value:#.{digits}g}".rstrip(".")
