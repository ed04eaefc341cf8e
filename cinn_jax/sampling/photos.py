"""Colorizations of photographs at their own resolution and depth."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.experiment.build import build
from cinn_jax.images import full_resolution, metadata, reading
from cinn_jax.images.crops import height_and_width
from cinn_jax.models.networks.features import LightnessFeatures
from cinn_jax.sampling.denoising import denoised, make_denoise
from cinn_jax.sampling.hints import (
  Hints,
  Point,
  check_names,
  of_photo,
  to_map,
)
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.known_colors import can_meet, make_draw_to_hints
from cinn_jax.sampling.numbered import Draw, make_draw
from cinn_jax.sampling.photograph import Photograph, suffix_of
from cinn_jax.sampling.reference import match
from cinn_jax.sampling.subject import Subject
from cinn_jax.tasks.colorize import denormalize_ab, normalize_lightness
from cinn_jax.workdir.trained import Trained


class Steering(NamedTuple):
  """Known colours of photographs, and the size of the results.

  Attributes:
    hints: Points whose colours are known.
    reference: uint8 [H, W, 3], a photograph to take colours from, or None.
    preview: Limits results to 512 pixels on a side, which is quick.
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
  TIFF for a picture with more than 8 bits, else PNG.

  Args:
    trained: A run of this task.
    degrade: Must be False.
    steering: The known colours, and the size of the results.
    denoise: Standard deviation of noise to remove from samples, in units of x.

  Attributes:
    cells: Cells on a side of the map of hints; 0 for a run without hints.
  """

  titles: Sequence[str] = ("grey",)

  def __init__(
    self,
    trained: Trained,
    *,
    degrade: bool = False,
    steering: Steering = NOTHING,
    denoise: float = 0.0,
  ):
    if degrade:
      raise ValueError(
        "--degrade is for tasks that start from small pictures or sketches;"
        " colorization makes photographs grey by itself: leave it out."
      )
    self.cells = trained.config["task"].get("hints", 0)
    if not self.cells and (steering.hints or steering.reference is not None):
      raise ValueError(
        "This run was trained without hints, so it takes no --hints and no"
        " --reference: use one of configs/colorize.py:photographs."
      )
    self._trained, self._steering = trained, steering
    self._size = height_and_width(trained.task.image_size)
    self._is_dict = isinstance(trained.flow.cond_shape, Mapping)
    flow, self._features = _without_features(trained)
    self._draw = make_draw(flow)
    self._denoise = make_denoise(flow, denoise) if denoise else None
    self._draw_to_hints = make_draw_to_hints(flow) if can_meet(flow) else None

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns the inputs to answer.

    Raises:
      ValueError: if there are no inputs, or hints for other photographs only.
    """
    if not found:
      raise ValueError(
        "--mode=sample of a colorization run needs --inputs='photos/*.jpg'."
      )
    check_names(self._steering.hints, [str(item.path) for item in found])
    return list(found)

  def load(self, item: Item) -> Subject:
    """Reads a photograph.

    Raises:
      UnreadableImage: if the file cannot be read.
    """
    assert item.path is not None
    photograph = self.open(item.path)
    subject = self.subject(photograph, self.points(photograph, self._steering))
    return photograph.previewed(subject) if self._steering.preview else subject

  def open(self, path: str) -> Photograph:
    """Reads a photograph, and computes its condition for the model.

    Raises:
      UnreadableImage: if the file cannot be read.
    """
    pixels = reading.decode(path, keep_depth=True)
    lightness = full_resolution.lightness_thumbnail(pixels, self._size)
    seen = normalize_lightness(jnp.asarray(lightness))[None, ..., None]
    cond = {"lightness": seen} if self._is_dict else seen
    if self._features is not None:
      features = self._features(self._trained.variables, seen)
      cond = {"lightness": seen, "features": features}
    return Photograph(path, pixels, cond, metadata.read(path))

  def points(self, photograph: Photograph, steering: Steering) -> list[Point]:
    """Returns the hints for a photograph, including those of the reference."""
    points = [*of_photo(steering.hints, photograph.path)]
    if steering.reference is not None:
      points += match(photograph.pixels, steering.reference)
    return points

  def subject(
    self, photograph: Photograph, points: Sequence[Point] = ()
  ) -> Subject:
    """Returns a photograph to answer, given these hints.

    Raises:
      ValueError: if a hint is outside the photograph.
    """
    pixels, cond = photograph.pixels, photograph.cond
    height, width = pixels.shape[:2]
    if self.cells:
      hints = to_map(points, (height, width), self.cells)
      cond = {**cond, "hints": jnp.asarray(hints)[None]}

    variables = self._trained.variables
    draw: Draw = functools.partial(self._draw, variables, cond)
    if points and self._draw_to_hints is not None:
      draw = self._draw_to_hints(variables, cond)
    if self._denoise is not None:
      draw = denoised(draw, self._denoise, variables, cond)

    def render(x):
      return full_resolution.colorize(pixels, denormalize_ab(x))

    def preview(x):
      return full_resolution.colorize(photograph.small, denormalize_ab(x))

    rows, columns = self._size
    resized = f"; seen by the model as {columns}x{rows}"
    seen = "" if height == width else resized
    plural = "s" if len(points) > 1 else ""
    hinted = [f"{len(points)} hint{plural}"] if points else []
    return Subject(
      head=[photograph.grey],
      draw=draw,
      dims=math.prod(self._trained.task.event_shape),
      render=render,
      preview=preview,
      suffix=suffix_of(photograph.path, pixels.dtype),
      pixels=height * width,
      metadata=photograph.metadata,
      note="; ".join([f"{width}x{height}{seen}", *hinted]),
    )


def _without_features(trained):
  """Returns a flow that takes features with the condition, and their network.

  For a flow that has no features, or computes them itself, returns the flow and
  None.
  """
  network = getattr(trained.flow.module, "features", None)
  if not isinstance(network, LightnessFeatures):
    return trained.flow, None
  task = {**trained.config["task"], "given_features": True}
  flow, _ = build({**trained.config, "task": task})

  @jax.jit
  def features(variables, lightness):
    return trained.flow.module.apply(
      variables, lightness, method=lambda module, seen: module.features(seen)
    )

  return flow, features
