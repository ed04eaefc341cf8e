"""Cutting and resizing pictures, antialiased in either direction."""

import math

import numpy as np
from PIL import Image

# Left, top, right, bottom in pixels.
Box = tuple[float, float, float, float]

_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
  """(H, W) of a size: the side of a square, or (H, W) itself."""
  if isinstance(size, int):
    return (size, size)
  height, width = size
  return (height, width)


def random_box(
  width: int,
  height: int,
  min_scale: float,
  generator: np.random.Generator,
  aspect: float = 1.0,
) -> Box:
  """A random part of a picture (Szegedy et al. 2015, section 6).

  Its area is uniform in [min_scale, 1] of the picture's and its aspect ratio
  (width to height) log-uniform in [3/4, 4/3] times `aspect`. Where no such part
  fits, it is the largest central one of an aspect ratio in that range.
  """
  narrowest, widest = (aspect * factor for factor in _ASPECT)
  for _ in range(_ATTEMPTS):
    area = width * height * generator.uniform(min_scale, 1)
    aspect = math.exp(generator.uniform(*np.log([narrowest, widest])))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      left = int(generator.integers(width - w + 1))
      top = int(generator.integers(height - h + 1))
      return (left, top, left + w, top + h)
  aspect = min(max(width / height, narrowest), widest)
  w = min(width, max(1, round(height * aspect)))
  h = min(height, max(1, round(width / aspect)))
  left, top = (width - w) // 2, (height - h) // 2
  return (left, top, left + w, top + h)


def central_box(width: int, height: int, aspect: float = 1.0) -> Box:
  """The largest part of an aspect ratio (width to height) in the middle."""
  w, h = min(width, height * aspect), min(height, width / aspect)
  left, top = (width - w) / 2, (height - h) / 2
  return (left, top, left + w, top + h)


def resize(
  picture: np.ndarray, box: Box, size: int | tuple[int, int]
) -> np.ndarray:
  """The part of a picture inside a box, as a picture of a size.

  Bicubic; where it shrinks, the filter covers every pixel that goes into one.

  Args:
    picture: uint8 [H, W, 3].
    box: in pixels; fractions are fine.
    size: side of the result, or its (H, W).

  Returns:
    uint8 [size, size, 3], or [H, W, 3].
  """
  height, width = height_and_width(size)
  resized = Image.fromarray(picture).resize(
    (width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0
  )
  return np.asarray(resized)
