"""Colorizations of photographs at their own resolution and depth."""

import math
import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from cinn_jax.images import full_resolution, metadata, reading
from cinn_jax.images.crops import height_and_width
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import make_draw
from cinn_jax.sampling.results import thumbnail
from cinn_jax.sampling.subject import Subject
from cinn_jax.tasks.colorize import denormalize_ab, normalize_lightness
from cinn_jax.workdir.trained import Trained


class Photos:
  """The sampler of runs of `colorize`.

  Each photograph keeps its own lightness. Colours are sampled at the model's
  resolution and upsampled along the edges. Results are JPEG for a JPEG, 16-bit
  TIFF for a picture of more than 8 bits, else PNG.
  """

  titles: Sequence[str] = ("grey",)

  def __init__(self, trained: Trained, *, degrade: bool = False):
    if degrade:
      raise ValueError(
        "--degrade is for tasks that start from small pictures or sketches;"
        " colorization makes photographs grey by itself: leave it out."
      )
    self._trained = trained
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
    variables = self._trained.variables
    size = height_and_width(self._trained.task.image_size)
    lightness = full_resolution.lightness_thumbnail(photo, size)
    cond = normalize_lightness(jnp.asarray(lightness))[None, ..., None]

    def draw(key, numbers, temperature):
      return self._draw(variables, cond, key, numbers, temperature)

    def render(x):
      return full_resolution.colorize(photo, denormalize_ab(x))

    kept = metadata.read(item.path)
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
      note="; ".join([f"{width}x{height}{seen}", *not_kept(kept)]),
    )


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
