"""Checks of numbers of levels, sizes of images, and pictures as conditions."""

from collections.abc import Sequence
from typing import Any


def check_levels(levels: int) -> int:
  """Returns a number of levels; raises ValueError if it is below 1."""
  if levels < 1:
    raise ValueError(f"A flow has 1 level or more, got {levels}.")
  return levels


def check_size(shape: Sequence[int], multiple: int, title: str) -> None:
  """Raises ValueError unless H and W of `shape` are multiples of `multiple`.

  Args:
    shape: Shape of images, [..., H, W, C].
    multiple: 2 to the number of times that the flow halves them.
    title: Model name used in the error message, as "CAFLOW with 4 levels".
  """
  size = shape[-3:-1]
  if not any(side % multiple for side in size) and all(size):
    return
  below = [max(side // multiple, 1) * multiple for side in size]
  above = [-(-max(side, 1) // multiple) * multiple for side in size]
  nearest = " or ".join(dict.fromkeys(map(size_text, (below, above))))
  raise ValueError(
    f"{title} takes heights and widths that are multiples of {multiple}, got"
    f" {size_text(size)}: crop or resize the images to {nearest}, or use fewer"
    " levels."
  )


def check_picture(cond: Any, title: str) -> None:
  """Raises ValueError unless `cond` is one array [B, H, W, C].

  `title` is the model name used in the error message.
  """
  if getattr(cond, "ndim", None) != 4:
    raise ValueError(
      f"{title} takes a condition image [B, H, W, C], got"
      f" {getattr(cond, 'shape', type(cond).__name__)}."
    )


def size_text(size: Sequence[int]) -> str:
  """Returns a size as text, such as "64x32"."""
  return "x".join(map(str, size))
