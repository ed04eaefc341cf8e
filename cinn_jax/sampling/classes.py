"""Samples of every class, for runs that start from no photograph."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cinn_jax.data import color_mnist, loader
from cinn_jax.experiment.build import open_source
from cinn_jax.images import color
from cinn_jax.images.crops import height_and_width
from cinn_jax.sampling.denoising import denoised, make_denoise
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import Draw, make_draw
from cinn_jax.sampling.subject import Subject
from cinn_jax.workdir.trained import Trained

_READ = 64
# Rows of samples of a run without classes.
_ROWS = 8


class Classes:
  """The sampler of runs whose condition is a class, a test digit or nothing.

  A run that colours digits gets the first test picture of each class. With
  classes, all rows share their latents; without, there are eight rows of
  samples, all different.
  """

  def __init__(
    self, trained: Trained, *, degrade: bool = False, denoise: float = 0.0
  ):
    if degrade:
      raise ValueError("--degrade is for tasks that start from pictures.")
    self._trained = trained
    self.titles: Sequence[str] = (trained.task.condition_name,)
    self._batch = CONDITIONS[trained.config["task"]["name"]](trained)
    self._draw = make_draw(trained.flow)
    self._denoise = make_denoise(trained.flow, denoise) if denoise else None
    self._prepare = jax.jit(lambda batch: trained.task.prepare(batch)[1])
    self._render = jax.jit(jax.vmap(trained.task.render, in_axes=(0, None)))

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns an item for each class.

    Raises:
      ValueError: if there are inputs.
    """
    if found:
      raise ValueError(
        "--inputs is for tasks that start from photographs; this run draws"
        " pictures of its classes, or of no class: leave it out."
      )
    # Rows without a class differ only in their latents.
    step = 2**20 if self._trained.task.cond_shape == (0,) else 0
    return [
      Item(str(label), first=row * step)
      for row, label in enumerate(self._batch["label"].tolist())
    ]

  def load(self, item: Item) -> Subject:
    """Returns the condition of a class."""
    task, variables = self._trained.task, self._trained.variables
    row = self._batch["label"].tolist().index(int(item.name))
    one = {name: values[row : row + 1] for name, values in self._batch.items()}
    cond = self._prepare(one)

    draw: Draw = functools.partial(self._draw, variables, cond)
    if self._denoise is not None:
      draw = denoised(draw, self._denoise, variables, cond)

    def render(x):
      return np.asarray(color.to_uint8(self._render(x[:, None], cond)[:, 0]))

    return Subject(
      head=[np.asarray(color.to_uint8(task.condition_picture(cond)[0]))],
      draw=draw,
      dims=math.prod(task.event_shape),
      render=render,
      note=f"{task.condition_name} {item.name}",
    )


def all_labels(trained: Trained) -> dict[str, Any]:
  """Returns a batch with every label; its pictures are black."""
  classes = trained.task.num_classes or _ROWS
  height, width = height_and_width(trained.task.image_size)
  return {
    "image": np.zeros((classes, height, width, 3), np.uint8),
    "label": np.arange(classes, dtype=np.int32),
  }


def first_of_each_class(trained: Trained) -> dict[str, Any]:
  """Returns a batch of the first test picture of each class, by label."""
  records: dict[int, dict[str, Any]] = {}
  source = open_source(trained.config, trained.task, "test")
  for batch in loader.evaluation_batches(
    source, image_size=trained.task.image_size, batch_size=_READ
  ):
    for row in np.flatnonzero(batch.pop("mask")):
      record = {name: values[row] for name, values in batch.items()}
      records.setdefault(int(record["label"]), record)
    if len(records) == len(color_mnist.PAIRS):
      break
  ordered = [records[label] for label in sorted(records)]
  return {
    name: np.stack([record[name] for record in ordered]) for name in ordered[0]
  }


# By task, a function that returns the batch whose rows are the conditions.
CONDITIONS = {
  "class_conditional": all_labels,
  "color_mnist": first_of_each_class,
  "generate": all_labels,
}
