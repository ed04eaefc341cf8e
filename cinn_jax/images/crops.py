"""Crops and resizes pictures, with anti-aliasing."""

import math

import numpy as np
from PIL import Image

# Left, top, right, bottom in pixels.
Box = tuple[float, float, float, float]

_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
  """Returns (H, W) for a size: the side of a square, or (H, W) itself."""
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
  """Draws a random part of a picture (Szegedy et al. 2015, section 6).

  Its area is uniform in [min_scale, 1] of the picture's area, and its aspect
  ratio (width to height) is log-uniform in [3/4, 4/3] times `aspect`. If no
  such part fits after ten tries, the result is the largest central part with
  an aspect ratio in that range.
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
  """Returns the largest central part with an aspect ratio, width to height."""
  w, h = min(width, height * aspect), min(height, width / aspect)
  left, top = (width - w) / 2, (height - h) / 2
  return (left, top, left + w, top + h)


def resize(
  picture: np.ndarray, box: Box, size: int | tuple[int, int]
) -> np.ndarray:
  """Resizes the part of a picture inside a box, with a bicubic filter.

  If the part shrinks, the filter widens to cover every pixel.

  Args:
    picture: uint8 `[H, W, 3]`.
    box: Left, top, right and bottom in pixels; may have fractions.
    size: Side of the result, or its (H, W).

  Returns:
    uint8 `[size, size, 3]`, or `[H, W, 3]`.
  """
  height, width = height_and_width(size)
  resized = Image.fromarray(picture).resize(
    (width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0
  )
  return np.asarray(resized)
