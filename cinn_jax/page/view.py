"""The picture to click on: a photograph at the size of a screen."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from cinn_jax.images import full_resolution
from cinn_jax.images.crops import resize
from cinn_jax.sampling.hints import Point, check_inside
from cinn_jax.sampling.photograph import shrink
from cinn_jax.sampling.thumbnails import as_uint8

# Longest side, in pixels.
_SIDE = 1024
# Radius of a dot, as a share of the longest side.
_RADIUS = 0.011


class View:
  """A small copy of a photograph, with the way back to its pixels.

  Args:
    photo: uint8 or uint16 [H, W, 3], upright.
    grey: Removes the colours.
  """

  def __init__(self, photo: np.ndarray, *, grey: bool):
    self._shape = photo.shape[:2]
    small = as_uint8(shrink(photo, _SIDE))
    if grey:
      # A fixed 8x8 grid, so that one program serves pictures of any shape.
      small = full_resolution.colorize(small, np.zeros((1, 8, 8, 2)))[0]
    self.pixels = small

  def to_photograph(self, x: float, y: float) -> tuple[float, float]:
    """Converts the middle of a pixel (x, y) to a place in the photograph."""
    height, width = self.pixels.shape[:2]
    return (
      (x + 0.5) * self._shape[1] / width,
      (y + 0.5) * self._shape[0] / height,
    )

  def to_whole(self, marks: np.ndarray) -> np.ndarray:
    """Enlarges bool [h, w] of the view to [H, W] of the photograph."""
    nearest = np.ix_(
      *(
        np.arange(full) * side // full
        for side, full in zip(marks.shape, self._shape, strict=True)
      )
    )
    return marks[nearest]

  def at_size_of(self, other: np.ndarray) -> np.ndarray:
    """Returns the view, resized to the size of another picture [H, W, 3]."""
    box = (0, 0, *self.pixels.shape[1::-1])
    return resize(self.pixels, box, other.shape[:2])

  def check(self, points: Sequence[Point]) -> None:
    """Raises ValueError if a point is outside the photograph."""
    for point in points:
      check_inside(point, self._shape)

  def draw(
    self, points: Sequence[Point], matches: Sequence[Point] = ()
  ) -> np.ndarray:
    """Returns the view with a dot for each hint, small ones for matches."""
    image = Image.fromarray(self.pixels)
    canvas = ImageDraw.Draw(image)
    height, width = self.pixels.shape[:2]
    radius = max(_RADIUS * max(height, width), 3)
    for chosen, size in ((matches, 0.5 * radius), (points, radius)):
      for point in chosen:
        x = point.x * width / self._shape[1]
        y = point.y * height / self._shape[0]
        # A ring that is visible on any background.
        for color, wider in (("black", 3), ("white", 2), (point.color, 0)):
          r = size + wider
          canvas.ellipse((x - r, y - r, x + r, y + r), fill=color)
    return np.asarray(image)
