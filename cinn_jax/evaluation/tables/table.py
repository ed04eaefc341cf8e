"""The table of an evaluation, one row per method; `records` keeps it as JSON.

A row is ours (measured here), quoted (printed elsewhere, not measured here) or
a reference (measured here of no model, such as grey pictures). What each column
means is written under the table and into the JSON.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

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


def check(rows, metrics):
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


def table(rows, metrics):
  """Returns a Markdown table, aligned for plain reading, and its legend.

  Args:
    rows: ``{method: Row}``.
    metrics: ``{name: Metric}``, the columns in order; unused ones are left out.

  Values and intervals have 4 significant digits, standard errors 2.
  """
  body = markup.markdown(cells(rows, metrics))
  return "\n".join([body, "", *(f"- {line}" for line in legend(rows, metrics))])


def cells(rows, metrics):
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


def legend(rows, metrics):
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
