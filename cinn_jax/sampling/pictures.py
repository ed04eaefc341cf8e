"""Samples of image-to-image tasks, at the size of the input picture."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from cinn_jax.experiment.build import build
from cinn_jax.images import color, crops, full_resolution, metadata, reading
from cinn_jax.images.crops import height_and_width
from cinn_jax.sampling import fill
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import CHUNK, make_draw
from cinn_jax.sampling.photograph import grey, suffix_of
from cinn_jax.sampling.subject import Subject
from cinn_jax.sampling.thumbnails import as_uint8, thumbnail
from cinn_jax.tasks import Task, holes
from cinn_jax.workdir.trained import Trained

# Number of test pictures to answer if there are no --inputs.
_SHOWN = 8
# Total number of pixels of the samples that are drawn at once.
_MAX_PIXELS = 2**22


class _Program(NamedTuple):
  """The compiled parts for pictures of one shape."""

  prepare: Any
  draw: Any
  render: Any
  task: Task


class Pictures:
  """The sampler of image-to-image runs.

  For super-resolution, the inputs are small pictures, which are enlarged by the
  factor of the run. For the other tasks, they are photographs or sketches of
  any size: the model sees them at its own size, and results have theirs.
  Colours are put onto the photograph's own lightness; holes are filled in
  place, see `fill`; the photograph for a sketch is enlarged.

  Args:
    trained: A run of one of these tasks.
    degrade: Inputs are whole pictures, which are first made smaller or turned
      into sketches, as in training; results have the run's size.
  """

  def __init__(self, trained: Trained, *, degrade: bool = False):
    self._trained, self._degrade = trained, degrade
    self._task = trained.config["task"]["name"]
    if degrade and self._task not in ("super_resolution", "sketch"):
      raise ValueError(
        f"--degrade is for super_resolution and sketch, not for {self._task}:"
        " leave it out."
      )
    self._size = height_and_width(trained.task.image_size)
    self._test: dict[str, Any] = {}
    self.titles: Sequence[str] = ()

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns the inputs to answer, or some test pictures if there are none.

    Raises:
      ValueError: if all inputs are holes.
    """
    given = self._trained.task.condition_name
    known = (
      not found or self._degrade or self._task in ("colorize_rgb", "inpaint")
    )
    if found and self._task == "super_resolution" and not self._degrade:
      given = "given"  # The condition's name would state the run's size.
    self.titles = (given, "truth") if known else (given,)
    if not found:
      self._test = self._trained.pictures("test", _SHOWN)
      count = len(self._test["image"])
      return [Item(f"test_{k + 1}") for k in range(count)]
    if self._task != "inpaint":
      return list(found)
    items = [item for item in found if not fill.is_hole(item.path)]
    if not items:
      raise ValueError(
        "--inputs matches holes alone: name the pictures next to them."
      )
    marks = (fill.hole_file(str(item.path)) for item in items)
    return [
      item._replace(more=(mark,) if mark else ())
      for item, mark in zip(items, marks, strict=True)
    ]

  def load(self, item: Item) -> Subject:
    """Reads a picture.

    Raises:
      UnreadableImage: if the picture or its hole cannot be used.
    """
    if item.path is None:
      row = int(item.name.removeprefix("test_")) - 1
      batch = {k: v[row : row + 1] for k, v in self._test.items()}
      return self._subject(batch, truth=batch["image"][0])
    photo = reading.decode(item.path, keep_depth=True)
    kept = metadata.read(item.path)
    subject = self._answer(item.path, photo)
    if photo.dtype == np.uint16 and subject.suffix != ".tif":
      kept = kept._replace(lost=(*kept.lost, "16 bits per channel"))
    return subject._replace(metadata=kept)

  def _answer(self, path, photo):
    narrow = as_uint8(photo)
    if self._task == "super_resolution" and not self._degrade:
      return self._enlarged(path, narrow)
    if self._degrade:
      height, width = narrow.shape[:2]
      box = crops.central_box(width, height, self._size[1] / self._size[0])
      whole = crops.resize(narrow, box, self._size)
      return self._subject({"image": whole[None]}, truth=whole)
    if self._task == "inpaint":
      return self._filled(path, photo)
    seen = crops.resize(narrow, (0, 0, *narrow.shape[1::-1]), self._size)
    if self._task == "sketch":
      return self._subject(
        {"image": seen[None], "condition": seen[None]},
        given=thumbnail(photo),
        finish=lambda rgb: _enlarged(rgb, photo.shape[:2]),
        pixels=photo.shape[0] * photo.shape[1],
      )
    return self._subject(
      {"image": seen[None]},
      given=grey(photo),
      truth=photo,
      finish=lambda rgb: full_resolution.colorize(photo, _ab(rgb)),
      suffix=suffix_of(path, photo.dtype),
      pixels=photo.shape[0] * photo.shape[1],
    )

  def _filled(self, path, photo):
    """Fills the hole of a photograph."""
    hole = fill.hole_of(path, photo.shape[:2])
    if hole is None:
      place = fill.central(photo, self._own_hole, self._size)
      batch = {"image": place.seen[None]}
    else:
      place = fill.around(photo, hole, self._size)
      batch = {"image": place.seen[None], "hole": place.seen_hole[None]}
    return self._subject(
      batch,
      given=thumbnail(
        place.paste(np.zeros((1, *place.seen.shape), np.uint8))[0]
      ),
      truth=photo,
      finish=place.paste,
      suffix=".tif" if photo.dtype == np.uint16 else ".png",
      pixels=photo.shape[0] * photo.shape[1],
    )

  def _own_hole(self, seen):
    settings = self._trained.config["task"]
    make_hole = holes.maker(settings["mask"], self._size, settings["area"])
    return np.asarray(make_hole(seen[None]))[0, ..., 0]

  def _enlarged(self, path, small):
    """Answers a small picture of any size.

    It is padded until its sides can be halved as often as in training.
    """
    scale = self._trained.config["task"]["scale"]
    height, width = (scale * side for side in small.shape[:2])
    if height * width > _MAX_PIXELS:
      raise reading.UnreadableImage(
        path,
        f"{small.shape[1]}x{small.shape[0]} pixels, too many to enlarge"
        f" {scale} times: make it at most {_MAX_PIXELS // scale**2:,} pixels",
      )
    if "size" in self._trained.config["model"] and (
      (height, width) != self._size
    ):
      own = "x".join(str(side // scale) for side in self._size[::-1])
      raise reading.UnreadableImage(
        path,
        f"{width // scale}x{height // scale} pixels, but this model enlarges"
        f" pictures of {own} only: resize it",
      )
    multiple = min(side & -side for side in self._size) // scale or 1
    extra = [(0, -side % multiple) for side in small.shape[:2]]
    padded = np.pad(small, (*extra, (0, 0)), mode="edge")
    shape = [scale * side for side in padded.shape[:2]]
    return self._subject(
      {
        "image": np.zeros((1, *shape, 3), np.uint8),
        "condition": padded[None],
      },
      given=small,
      finish=lambda rgb: rgb[:, :height, :width],
      note=f"{width}x{height}",
    )

  def _subject(
    self,
    batch,
    *,
    given=None,
    truth=None,
    finish=None,
    suffix=".png",
    pixels=0,
    note="",
  ):
    shape = batch["image"].shape[1:3]
    program = self._program(shape)
    cond = program.prepare(batch)
    if given is None:
      given = np.asarray(
        color.to_uint8(program.task.condition_picture(cond)[0])
      )

    def draw(key, numbers, temperature):
      return program.draw(
        self._trained.variables, cond, key, numbers, temperature
      )

    def render(x):
      rgb = np.asarray(program.render(x, cond))
      return rgb if finish is None else finish(rgb)

    head = [given] if "truth" not in self.titles else [given, thumbnail(truth)]
    return Subject(
      head=head,
      draw=draw,
      dims=math.prod(program.task.event_shape),
      render=render,
      suffix=suffix,
      chunk=max(1, min(CHUNK, _MAX_PIXELS // math.prod(shape))),
      pixels=pixels or math.prod(shape),
      note=note if pixels or note else f"{shape[1]}x{shape[0]}",
    )

  @functools.cache  # noqa: B019, one per size; the sampler lives as long.
  def _program(self, shape):
    """Builds the programs for pictures of a shape.

    It need not be the run's: parameters of models without a `size` do not
    depend on it.
    """
    if shape != self._size:
      print(
        f"Compiling for pictures of {shape[1]}x{shape[0]}: each new size of"
        " small picture takes about 20 seconds more."
      )
    config = dict(self._trained.config)
    config["task"] = {**config["task"], "image_size": shape}
    flow, task = build(config)

    def render(x, cond):
      one = jax.vmap(lambda x: task.render(x[None], cond)[0])
      return color.to_uint8(one(x))

    return _Program(
      prepare=jax.jit(lambda batch: task.prepare(batch)[1]),
      draw=make_draw(flow),
      render=jax.jit(render),
      task=task,
    )


def _ab(rgb):
  """Returns a and b of uint8 pictures [n, H, W, 3]."""
  return np.asarray(color.srgb_to_lab(rgb.astype(np.float32) / 255))[..., 1:]


def _enlarged(rgb, shape):
  """Returns pictures [n, h, w, 3] at the size of a sketch."""
  box = (0, 0, rgb.shape[2], rgb.shape[1])
  return np.stack([crops.resize(picture, box, shape) for picture in rgb])
