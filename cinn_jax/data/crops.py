"""Cutting and resizing pictures, antialiased in either direction."""

import math

import numpy as np
from PIL import Image

# Left, top, right, bottom in pixels.
Box = tuple[float, float, float, float]

_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10


def random_box(
  width: int, height: int, min_scale: float, generator: np.random.Generator
) -> Box:
  """A random part of a picture (Szegedy et al. 2015, section 6).

  Its area is uniform in [min_scale, 1] of the picture's and its aspect ratio
  log-uniform in [3/4, 4/3]. Where no such part fits, it is the largest central
  one of an aspect ratio in that range.
  """
  for _ in range(_ATTEMPTS):
    area = width * height * generator.uniform(min_scale, 1)
    aspect = math.exp(generator.uniform(*np.log(_ASPECT)))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      left = int(generator.integers(width - w + 1))
      top = int(generator.integers(height - h + 1))
      return (left, top, left + w, top + h)
  aspect = min(max(width / height, _ASPECT[0]), _ASPECT[1])
  w = min(width, max(1, round(height * aspect)))
  h = min(height, max(1, round(width / aspect)))
  left, top = (width - w) // 2, (height - h) // 2
  return (left, top, left + w, top + h)


def central_box(width: int, height: int) -> Box:
  """The largest square in the middle, to half a pixel."""
  side = min(width, height)
  left, top = (width - side) / 2, (height - side) / 2
  return (left, top, left + side, top + side)


def resize(picture: np.ndarray, box: Box, size: int) -> np.ndarray:
  """The part of a picture inside a box, as a square.

  Bicubic; where it shrinks, the filter covers every pixel that goes into one.

  Args:
    picture: uint8 [H, W, 3].
    box: in pixels; fractions are fine.
    size: side of the result.

  Returns:
    uint8 [size, size, 3].
  """
  resized = Image.fromarray(picture).resize(
    (size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0
  )
  return np.asarray(resized)
