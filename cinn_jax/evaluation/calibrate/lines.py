"""Results of a calibration as text, as JSON, and as curves to draw."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cinn_jax.evaluation.calibrate.pool import Measured
from cinn_jax.evaluation.tables import markup
from cinn_jax.evaluation.tables.table import in_digits, with_interval

HEAD = ("of", "what", "this model", "a right model, 95 %", "")


class Line(NamedTuple):
  """One number of a calibration.

  Attributes:
    of: Name of the quantity that it describes, such as "4x4, a".
    name: Name of the number.
    measured: The number.
  """

  of: str
  name: str
  measured: Measured


class Curve(NamedTuple):
  """Shares that should equal their levels.

  Attributes:
    title: Title of its panel.
    levels: [L].
    measured: [L] each.
  """

  title: str
  levels: np.ndarray
  measured: Measured


class Part(NamedTuple):
  """One test of a calibration.

  Attributes:
    title: Name of the test.
    lines: Its numbers.
    curves: Its curves.
  """

  title: str
  lines: Sequence[Line]
  curves: Sequence[Curve] = ()


def text(part: Part) -> str:
  """Returns the table of a part, in Markdown."""
  return f"{part.title}\n\n{markup.markdown(cells(part))}\n"


def cells(part: Part) -> list[list[str]]:
  """Returns the table of a part as rows of text, the head first."""
  return [list(HEAD), *map(_row, part.lines)]


def _row(line):
  value, interval, band = line.measured
  number = in_digits(float(value))
  if interval is not None:
    number = with_interval(float(value), interval)
  if band is None:
    return [line.of, line.name, number, "", ""]
  verdict = "above" if value > band[1] else "below" if value < band[0] else ""
  low, high = map(in_digits, band)
  return [line.of, line.name, number, f"{low} to {high}", verdict]


def as_json(part: Part) -> dict[str, Any]:
  """Returns a part as values for JSON."""
  return {
    "title": part.title,
    "lines": [
      {"of": line.of, "name": line.name, **_numbers(line.measured)}
      for line in part.lines
    ],
    "curves": [
      {
        "title": curve.title,
        "levels": np.asarray(curve.levels).tolist(),
        **_numbers(curve.measured),
      }
      for curve in part.curves
    ],
  }


def from_json(content: Mapping[str, Any]) -> Part:
  """Returns the part that `as_json` wrote.

  Raises:
    KeyError: for any other content.
  """
  return Part(
    content["title"],
    [Line(x["of"], x["name"], _measured(x)) for x in content["lines"]],
    [
      Curve(x["title"], np.array(x["levels"]), _measured(x))
      for x in content["curves"]
    ],
  )


def _numbers(measured):
  return {name: _plain(value) for name, value in measured._asdict().items()}


def _plain(value):
  """Returns numbers as values for JSON, which has no NaN: it becomes null."""
  if isinstance(value, tuple):
    return [_plain(part) for part in value]
  if value is None:
    return None
  numbers = np.asarray(value, np.float64)
  rounded = np.where(np.isnan(numbers), None, numbers.round(6))
  return rounded.tolist()


def _measured(content):
  value, interval, band = (
    _array(content[name]) for name in ("value", "interval", "band")
  )
  pairs = (None if p is None else (p[0], p[1]) for p in (interval, band))
  return Measured(value, *pairs)


def _array(content):
  return None if content is None else np.asarray(content, np.float64)
