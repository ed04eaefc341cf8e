"""Fills holes in photographs of any size: cuts out, fills and pastes back."""

import pathlib
from typing import NamedTuple

import numpy as np

from cinn_jax.images import crops, formats, reading
from cinn_jax.sampling.thumbnails import as_uint8

# The file with this ending marks the hole of the picture next to it.
_ENDING = "_hole"
# The model sees a part of the photograph this many times as large as the hole.
_CONTEXT = 2


class Place(NamedTuple):
  """A part of a photograph that the model sees, and the hole in it.

  Attributes:
    photo: uint8 or uint16 [H, W, 3].
    rows, columns: The part.
    hole: bool [h, w] of the part.
    seen: uint8, the part at the model's size.
    seen_hole: uint8 of that size, 255 in the hole.
  """

  photo: np.ndarray
  rows: slice
  columns: slice
  hole: np.ndarray
  seen: np.ndarray
  seen_hole: np.ndarray

  def paste(self, filled: np.ndarray) -> np.ndarray:
    """Returns one photograph for each of `filled` [n, H, W, 3], in the hole.

    Pixels outside the hole are those of the photograph, bit for bit.
    """
    height, width = self.hole.shape
    wide = self.photo.dtype == np.uint16
    result = np.repeat(self.photo[None], len(filled), axis=0)
    for picture, answer in zip(result, filled, strict=True):
      box = (0, 0, answer.shape[1], answer.shape[0])
      part = crops.resize(answer, box, (height, width))
      part = part.astype(np.uint16) * 257 if wide else part
      picture[self.rows, self.columns][self.hole] = part[self.hole]
    return result


def around(photo: np.ndarray, hole: np.ndarray, size: tuple[int, int]) -> Place:
  """Returns the surroundings of a hole, for a model of a size (H, W).

  Args:
    photo: uint8 or uint16 [H, W, 3].
    hole: bool [H, W].
    size: The model's size.
  """
  found = [np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0)]
  # The part has the model's aspect ratio, and at least its size.
  scales = [
    _CONTEXT * (indices[-1] + 1 - indices[0]) / full
    for indices, full in zip(found, size, strict=True)
  ]
  scale = max(1.0, *scales)
  rows, columns = (
    _interval(indices, round(scale * full), whole)
    for indices, full, whole in zip(found, size, hole.shape, strict=True)
  )
  return _place(photo, rows, columns, hole[rows, columns], size)


def central(photo: np.ndarray, own_hole, size: tuple[int, int]) -> Place:
  """Returns the middle of a photograph, with a hole as in the run's training.

  Args:
    photo: uint8 or uint16 [H, W, 3].
    own_hole: `(seen uint8 [H, W, 3]) -> bool [H, W]`, both of `size`.
    size: The model's size, (H, W).
  """
  height, width = photo.shape[:2]
  left, top, right, bottom = crops.central_box(width, height, size[1] / size[0])
  rows = slice(round(top), max(round(bottom), round(top) + 1))
  columns = slice(round(left), max(round(right), round(left) + 1))
  seen = _resized(as_uint8(photo[rows, columns]), size)
  small = own_hole(seen)
  shape = (rows.stop - rows.start, columns.stop - columns.start)
  # For each pixel of the part, the nearest one at the model's size.
  nearest = np.ix_(
    *(np.arange(n) * full // n for n, full in zip(shape, size, strict=True))
  )
  marks = np.where(small[..., None], np.uint8(255), np.uint8(0))
  return Place(
    photo=photo,
    rows=rows,
    columns=columns,
    hole=small[nearest],
    seen=seen,
    seen_hole=np.repeat(marks, 3, axis=-1),
  )


def _place(photo, rows, columns, hole, size):
  seen = _resized(as_uint8(photo[rows, columns]), size)
  marks = np.repeat(np.where(hole[..., None], 255, 0), 3, axis=-1)
  small = _resized(marks.astype(np.uint8), size)
  # A pixel at the model's size is in the hole if any part of it is.
  seen_hole = np.where(small > 0, np.uint8(255), np.uint8(0))
  return Place(photo, rows, columns, hole, seen, seen_hole)


def _interval(found, side, whole):
  """Returns a slice of `side` pixels around indices, inside [0, whole)."""
  first, last = int(found[0]), int(found[-1]) + 1
  side = min(max(side, last - first), whole)
  start = (first + last - side) // 2
  start = min(max(start, 0), whole - side)
  return slice(start, start + side)


def _resized(picture, size):
  box = (0, 0, picture.shape[1], picture.shape[0])
  return crops.resize(np.ascontiguousarray(picture), box, size)


def is_hole(path: str | None) -> bool:
  """Tells if a file marks the hole of a picture next to it."""
  if path is None:
    return False
  stem = pathlib.Path(path).stem
  return stem.endswith(_ENDING) and bool(_next_to(path, stem[: -len(_ENDING)]))


def hole_file(path: str) -> str | None:
  """Returns the file `<name>_hole.*` next to a picture, or None."""
  return _next_to(path, pathlib.Path(path).stem + _ENDING)


def hole_of(path: str, shape: tuple[int, int]) -> np.ndarray | None:
  """Reads the hole of a picture of a shape (H, W): bool [H, W].

  White pixels on black are the hole; on a transparent layer, opaque ones are.
  None if there is no `hole_file`.

  Raises:
    UnreadableImage: if it has another size, or marks everything or nothing.
  """
  file = hole_file(path)
  if file is None:
    return None
  alpha = reading.decode_alpha(file)
  hole = reading.decode(file).max(axis=-1) >= 128 if alpha is None else alpha
  if hole.shape != shape:
    raise reading.UnreadableImage(
      file,
      f"a hole of {hole.shape[1]}x{hole.shape[0]} pixels for a picture of"
      f" {shape[1]}x{shape[0]}",
    )
  if hole.all() or not hole.any():
    marks = "everything" if hole.all() else "nothing"
    raise reading.UnreadableImage(
      file,
      f"marks {marks} as hole: paint the hole white on black, or opaque on a"
      " transparent layer",
    )
  return hole


def _next_to(path, stem):
  """Returns the picture of that name in the folder of `path`, or None."""
  files = sorted(pathlib.Path(path).parent.iterdir())
  matches = (
    str(file)
    for file in files
    if file.stem == stem and file.suffix.lower() in formats.EXTENSIONS
  )
  return next(matches, None)
