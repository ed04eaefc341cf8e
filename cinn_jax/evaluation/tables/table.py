"""The table of an evaluation, one row per method; `records` keeps it as JSON.

A row is "ours" (measured here), "quoted" (printed elsewhere, not measured here)
or a "reference" (measured here without a model, such as grey pictures). The
legend of the table and the JSON describe every column.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cinn_jax.evaluation.tables import markup

MARKS = ("ours", "quoted", "reference")
BRACKETS = "In brackets: 95 % intervals, by resampling the images."


class Metric(NamedTuple):
  """A column of the table.

  Attributes:
    title: Title of the column.
    unit: Unit of its numbers.
    protocol: How the value of one image is computed.
    reduction: How the values of all images become one number, see
      `splits.reduce`.
  """

  title: str
  unit: str
  protocol: str
  reduction: str = "mean"


class Row(NamedTuple):
  """One method's numbers.

  Attributes:
    metrics: ``{metric: (value, standard error or None)}``.
    mark: One of `MARKS`.
    images: Number of images behind the numbers; None if unknown.
    samples: n, the number of samples per image; None if unknown.
    intervals: ``{metric: (low, high)}``, 95 %, printed instead of the error.
  """

  metrics: Mapping[str, tuple[float, float | None]]
  mark: str = "ours"
  images: int | None = None
  samples: int | None = None
  intervals: Mapping[str, tuple[float, float]] | None = None


# A number of a whole set of pictures, and its interval or None.
Measured = tuple[float, tuple[float, float] | None]
Rows = Mapping[str, Row]
Metrics = Mapping[str, Metric]
# The result of a task's evaluation: rows, the metrics of their columns, and
# lines of text to print below the table.
Evaluation = tuple[dict[str, Row], dict[str, Metric], list[str]]


def check(rows: Rows, metrics: Metrics) -> None:
  """Raises ValueError if a row cannot be printed."""
  for name, row in rows.items():
    if row.mark not in MARKS:
      raise ValueError(
        f"row {name!r} is marked {row.mark!r}; expected {', '.join(MARKS)}."
      )
    for metric, (value, error) in row.metrics.items():
      if metric not in metrics:
        raise ValueError(
          f"row {name!r} has {metric!r}, which no Metric describes; add one to"
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
          " two finite numbers for a metric of that row."
        )


def table(rows: Rows, metrics: Metrics) -> str:
  """Returns a Markdown table, aligned for plain reading, and its legend.

  Values and intervals have 4 significant digits, standard errors 2.

  Args:
    rows: ``{method: Row}``.
    metrics: ``{name: Metric}``, the columns in order; a column without numbers
      is left out.
  """
  body = markup.markdown(cells(rows, metrics))
  return "\n".join([body, "", *(f"- {line}" for line in legend(rows, metrics))])


def cells(rows: Rows, metrics: Metrics) -> list[list[str]]:
  """Returns the table as rows of text, the head first.

  The first two columns are text, to be flush left; the others are numbers.
  """
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


def legend(rows: Rows, metrics: Metrics) -> list[str]:
  """Describes each column of the table, one line per column."""
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


def with_interval(value: float, interval: tuple[float, float]) -> str:
  """Formats a number with its interval in brackets."""
  low, high = map(in_digits, interval)
  return f"{in_digits(value)} [{low}, {high}]"


def in_digits(value: float, digits: int = 4) -> str:
  """Formats a number with `digits` significant digits."""
  return f"{value:#.{digits}g}".rstrip(".")
