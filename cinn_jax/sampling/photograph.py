"""An open photograph: its pixels, its preview and its condition."""

import functools
import pathlib

import numpy as np

from cinn_jax.bijections import Condition
from cinn_jax.images import crops, full_resolution
from cinn_jax.images.metadata import Metadata
from cinn_jax.sampling.subject import Subject
from cinn_jax.sampling.thumbnails import as_uint8, thumbnail

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
# Longest side of a preview, in pixels.
PREVIEW = 512


class Photograph:
  """A photograph, and its condition for the model, which is computed once.

  Attributes:
    path: Its file.
    pixels: uint8 or uint16 [H, W, 3].
    cond: The condition without hints: its lightness and features.
    metadata: Written into the files of its samples.
  """

  def __init__(
    self, path: str, pixels: np.ndarray, cond: Condition, metadata: Metadata
  ):
    self.path, self.pixels = path, pixels
    self.cond, self.metadata = cond, metadata

  @functools.cached_property
  def small(self) -> np.ndarray:
    """The photograph with at most 512 pixels on a side."""
    return shrink(self.pixels, PREVIEW)

  @functools.cached_property
  def grey(self) -> np.ndarray:
    """A thumbnail without colours."""
    return grey(self.small)

  def previewed(self, subject: Subject) -> Subject:
    """Returns a subject whose results are previews."""
    height, width = self.small.shape[:2]
    _, *others = subject.note.split("; ")
    assert subject.preview is not None
    return subject._replace(
      render=subject.preview,
      suffix=suffix_of(self.path, self.small.dtype),
      pixels=height * width,
      note="; ".join([f"{width}x{height}", *others]),
    )


def shrink(picture: np.ndarray, most: int) -> np.ndarray:
  """Returns a picture [H, W, 3] of at most `most` pixels on a side.

  A picture that has to shrink becomes uint8.
  """
  height, width = picture.shape[:2]
  factor = most / max(height, width)
  if factor >= 1:
    return picture
  size = (max(1, round(height * factor)), max(1, round(width * factor)))
  return crops.resize(as_uint8(picture), (0, 0, width, height), size)


def grey(photo: np.ndarray) -> np.ndarray:
  """Returns a small photograph without its colours, uint8."""
  # A fixed 8x8 grid, so that one program serves pictures of any shape.
  return full_resolution.colorize(thumbnail(photo), np.zeros((1, 8, 8, 2)))[0]


def suffix_of(path: str | None, dtype: np.dtype) -> str:
  """Returns the ending of result files for a photograph's name and depth."""
  if dtype == np.uint16:
    return ".tif"
  suffix = pathlib.Path(path or "").suffix.lower()
  return ".jpg" if suffix in _JPEG else ".png"
