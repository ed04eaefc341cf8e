"""Colorizations of photographs at their own resolution and depth."""

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from cinn_jax.images import crops, full_resolution, metadata, reading
from cinn_jax.images.crops import height_and_width
from cinn_jax.sampling.hints import Hints, of_photo, to_map
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.sampling.reference import match
from cinn_jax.sampling.results import as_uint8, thumbnail
from cinn_jax.sampling.subject import Subject
from cinn_jax.tasks.colorize import denormalize_ab, normalize_lightness
from cinn_jax.workdir.trained import Trained

# Longest side of a preview, in pixels.
PREVIEW = 512


class Steering(NamedTuple):
  """Wishes for the colours of photographs, and the size of the results.

  Attributes:
    hints: Points whose colours are known.
    reference: uint8 [H, W, 3], a photograph whose colours to take, or None.
    preview: Results have at most 512 pixels on a side, which is quick.
  """

  hints: Hints = ()
  reference: np.ndarray | None = None
  preview: bool = False

  @property
  def is_empty(self) -> bool:
    return not self.hints and self.reference is None and not self.preview


NOTHING = Steering()


class Photos:
  """The sampler of runs of `colorize`.

  Each photograph keeps its own lightness. Colours are sampled at the model's
  resolution and upsampled along the edges. Results are JPEG for a JPEG, 16-bit
  TIFF for a picture of more than 8 bits, else PNG.

  Args:
    trained: A run of this task.
    degrade: Refused.
    steering: What is known of the colours, and the size of the results.
  """

  titles: Sequence[str] = ("grey",)

  def __init__(
    self,
    trained: Trained,
    *,
    degrade: bool = False,
    steering: Steering = NOTHING,
  ):
    if degrade:
      raise ValueError(
        "--degrade is for tasks that start from small pictures or sketches;"
        " colorization makes photographs grey by itself: leave it out."
      )
    self._cells = trained.config["task"].get("hints", 0)
    if not self._cells and (steering.hints or steering.reference is not None):
      raise ValueError(
        "This run was trained without hints, so it takes no --hints and no"
        " --reference: use one of configs/colorize.py:photographs."
      )
    self._trained, self._steering = trained, steering
    self._draw = make_draw(trained.flow)

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns the inputs to answer.

    Raises:
      ValueError: if there are none.
    """
    if not found:
      raise ValueError(
        "--mode=sample of a colorization run needs --inputs='photos/*.jpg'."
      )
    return list(found)

  def load(self, item: Item) -> Subject:
    """Reads a photograph.

    Raises:
      UnreadableImage: if it cannot be read.
    """
    assert item.path is not None
    photo = reading.decode(item.path, keep_depth=True)
    points = self._points(item.path, photo)
    if self._steering.preview:
      photo = _small(photo)
    variables = self._trained.variables
    size = height_and_width(self._trained.task.image_size)
    lightness = full_resolution.lightness_thumbnail(photo, size)
    cond = self._condition(
      normalize_lightness(jnp.asarray(lightness))[None, ..., None], points
    )

    def draw(key, numbers, temperature):
      return self._draw(variables, cond, key, numbers, temperature)

    def render(x):
      return full_resolution.colorize(photo, denormalize_ab(x))

    kept = metadata.read(item.path)
    hinted = [f"{points[1]} hints"] if points and points[1] else []
    height, width = photo.shape[:2]
    resized = f"; seen by the model as {size[1]}x{size[0]}"
    seen = "" if height == width else resized
    return Subject(
      head=[grey(photo)],
      draw=draw,
      dims=math.prod(self._trained.task.event_shape),
      render=render,
      suffix=suffix_of(item.path, photo.dtype),
      pixels=height * width,
      metadata=kept,
      note="; ".join([f"{width}x{height}{seen}", *hinted, *not_kept(kept)]),
    )

  def _points(self, path, photo):
    """The hints for a photograph, as a map, and their number."""
    if not self._cells:
      return None
    points = [*of_photo(self._steering.hints, path)]
    if self._steering.reference is not None:
      points += match(photo, self._steering.reference)
    return to_map(points, photo.shape[:2], self._cells), len(points)

  def _condition(self, lightness, points):
    if points is None:
      return lightness
    return {"lightness": lightness, "hints": jnp.asarray(points[0])[None]}


def _small(photo):
  """A photograph of at most 512 pixels on a side, for a preview."""
  height, width = photo.shape[:2]
  factor = PREVIEW / max(height, width)
  if factor >= 1:
    return photo
  size = (max(1, round(height * factor)), max(1, round(width * factor)))
  return crops.resize(as_uint8(photo), (0, 0, width, height), size)


def grey(photo: np.ndarray) -> np.ndarray:
  """A small photograph without its colours, uint8."""
  small = thumbnail(photo)
  shape = small.shape[:2]
  return full_resolution.colorize(small, np.zeros((1, *shape, 2)))[0]


def not_kept(kept: metadata.Metadata) -> list[str]:
  """Returns a line on what the results of a photograph lose, if anything."""
  return [f"not kept: {', '.join(kept.lost)}"] if kept.lost else []


def suffix_of(path: str | None, dtype: np.dtype) -> str:
  """The ending of results of a photograph of that name and depth."""
  if dtype == np.uint16:
    return ".tif"
  is_jpeg = pathlib.Path(path or "").suffix.lower() in (".jpg", ".jpeg")
  return ".jpg" if is_jpeg else ".png"
