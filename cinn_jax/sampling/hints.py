"""`--hints`: known colours at places in a photograph.

A file is JSON: a list of points for all photographs, or a dictionary of one
list for each photograph, by the name of its file.

  [{"x": 120, "y": 80, "color": [200, 30, 40]},
   {"x": 300, "y": 45, "color": "#1e5aa8", "radius": 12}]

x and y are pixels of the upright photograph, from its upper left corner.
Colours are sRGB. With a radius, a point covers more than the cell under it.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import ImageColor

from cinn_jax.images import color
from cinn_jax.runtime import storage
from cinn_jax.tasks.colorize import normalize_ab


class Point(NamedTuple):
  """A place whose colour is known.

  Attributes:
    x: Column, in pixels from the left.
    y: Row, in pixels from the top.
    color: Three numbers from 0 to 255, sRGB.
    radius: In pixels; 0 covers the one cell under the point.
  """

  x: float
  y: float
  color: tuple[int, int, int]
  radius: float = 0


# Points for all photographs, or points by the name of a file.
Hints = Sequence[Point] | Mapping[str, Sequence[Point]]


def read(path: str | os.PathLike[str]) -> Hints:
  """Reads a file of hints.

  Raises:
    FileNotFoundError: if the file does not exist.
    ValueError: if it does not hold hints; the message names the wrong entry.
  """
  try:
    content = json.loads(pathlib.Path(path).expanduser().read_bytes())
  except (FileNotFoundError, IsADirectoryError):
    raise FileNotFoundError(f"There is no file of hints {path}.") from None
  except ValueError as error:
    raise ValueError(f"{path} is not JSON: {error}") from None
  if isinstance(content, dict):
    return {name: _points(path, name, rows) for name, rows in content.items()}
  return _points(path, "", content)


def write(path: str | os.PathLike[str], points: Sequence[Point]) -> None:
  """Writes a file of points for `read`, whole or not at all."""
  rows = [point._asdict() for point in points]
  storage.write_whole(path, json.dumps(rows, indent=1).encode())


def of_photo(hints: Hints, path: str) -> Sequence[Point]:
  """Returns the points for the photograph at a path."""
  if not isinstance(hints, Mapping):
    return hints
  return hints.get(path, hints.get(os.path.basename(path), ()))


def check_names(hints: Hints, paths: Sequence[str]) -> None:
  """Tells if some hints are for photographs that are not among these.

  Raises:
    ValueError: if all of them are.
  """
  if not isinstance(hints, Mapping):
    return
  known = {*paths, *(os.path.basename(path) for path in paths)}
  others = [name for name in hints if name not in known]
  if not others:
    return
  more = f" and {len(others) - 1} more" if others[1:] else ""
  text = f"--hints has points for {others[0]!r}{more}, not among --inputs"
  if len(others) == len(hints):
    example = os.path.basename(paths[0])
    raise ValueError(f"{text}: expected names of files, such as {example!r}.")
  print(f"{text}.")


def to_map(
  points: Sequence[Point], shape: tuple[int, int], cells: int
) -> np.ndarray:
  """Returns a map [cells, cells, 3] of hints, as `tasks.hints` defines it.

  A cell with several points gets their mean.

  Args:
    points: The points.
    shape: Height and width of the photograph, in pixels.
    cells: Cells on a side of the map.

  Raises:
    ValueError: if a point is outside the photograph.
  """
  total = np.zeros((cells, cells, 3), np.float32)
  height, width = shape
  for point in points:
    check_inside(point, shape)
    rgb = jnp.asarray(point.color, jnp.float32).reshape(1, 3) / 255
    ab = np.asarray(normalize_ab(color.srgb_to_lab(rgb)[0, 1:]))
    rows = _covered(point.y, point.radius, height, cells)
    columns = _covered(point.x, point.radius, width, cells)
    total[np.ix_(rows, columns)] += np.append(ab, 1)
  count = np.maximum(total[..., 2:], 1)
  return total / count


def check_inside(point: Point, shape: tuple[int, int]) -> None:
  """Raises ValueError for a point outside a photograph of a shape (H, W)."""
  height, width = shape
  if not (0 <= point.x < width and 0 <= point.y < height):
    raise ValueError(
      f"the hint at x={point.x:g}, y={point.y:g} is outside of the photograph"
      f" of {width}x{height} pixels"
    )


def _covered(place, radius, size, cells):
  """Returns a point's cell along an axis, and those whose middle it covers."""
  middles = (np.arange(cells) + 0.5) * size / cells
  covered = np.abs(middles - place) <= radius
  covered[int(place * cells / size)] = True
  return np.flatnonzero(covered)


def _points(path, name, rows):
  where = f"{path}, {name}" if name else f"{path}"
  if not isinstance(rows, list):
    raise ValueError(f"{where}: expected a list of points, got {rows!r:.60}.")
  return [_point(where, k, row) for k, row in enumerate(rows, 1)]


def _point(where, k, row):
  try:
    if unknown := set(row) - {*Point._fields}:
      raise ValueError(f"unknown {', '.join(map(repr, sorted(unknown)))}")
    point = Point(
      x=_number(row["x"]),
      y=_number(row["y"]),
      color=parse_color(row["color"]),
      radius=_number(row.get("radius", 0)),
    )
    if point.radius < 0:
      raise ValueError("a radius is 0 or more")
  except (
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
  ) as error:
    raise ValueError(
      f"{where}: point {k} is {row!r:.80} ({error}); expected x, y and color,"
      ' such as {"x": 120, "y": 80, "color": [200, 30, 40]}.'
    ) from None
  return point


def _number(value: Any) -> float:
  if isinstance(value, bool) or not np.isfinite(float(value)):
    raise ValueError("not a number")
  return float(value)


def parse_color(value: Any) -> tuple[int, int, int]:
  """Returns the levels of a colour: three numbers, or text such as "#1e5aa8".

  Raises:
    ValueError: if it is not a colour.
    TypeError: if it is neither a list nor text.
  """
  if isinstance(value, str):
    value = ImageColor.getrgb(value)
  red, green, blue = value
  for level in (red, green, blue):
    if int(level) != level or not 0 <= level <= 255:
      raise ValueError("a colour has three whole levels from 0 to 255")
  return int(red), int(green), int(blue)
