"""Unconditional pictures, or pictures of a class: plain RGB."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.images import sheets
from cinn_jax.tasks.base import Task
from cinn_jax.tasks.rgb import LEVELS, rgb_task

_LABEL_SIDE = 64


def generate(
  *, image_size: int | tuple[int, int], num_classes: int = 0
) -> Task:
  """Builds the task of drawing pictures without a condition, or of a class.

  x holds RGB in [0, 1), [B, H, W, 3], see `tasks.rgb`. cond is empty, [B, 0],
  or the one-hot class, [B, num_classes].

  Args:
    image_size: S, or (H, W).
    num_classes: Number of classes of the labels; 0 ignores labels.

  Raises:
    ValueError: by `prepare`, if there are classes but the pictures have no
      labels.
  """
  labels = np.stack(
    [sheets.text(str(k), _LABEL_SIDE) for k in range(num_classes)]
    or [np.full((_LABEL_SIDE, _LABEL_SIDE, 3), LEVELS // 2, np.uint8)]
  )
  given = f"one of {num_classes} classes" if num_classes else "nothing"
  task = rgb_task(
    image_size=image_size,
    cond_shape=(num_classes,),
    condition=lambda batch: jnp.zeros((len(batch["image"]), num_classes)),
    condition_noise="half",
    condition_picture=lambda levels: levels,
    given=given,
    condition_name="class" if num_classes else "nothing",
  )

  def prepare(batch):
    x, cond = task.prepare(batch)
    if not num_classes:
      return x, cond
    if "label" not in batch:
      raise ValueError(
        "task.num_classes needs pictures with labels, but these have none:"
        " choose another --config.data.source, or 0 classes."
      )
    return x, jax.nn.one_hot(batch["label"], num_classes)

  def condition_picture(cond):
    index = jnp.zeros(len(cond), int)
    if num_classes:
      index = jnp.argmax(cond, axis=-1)
    return jnp.asarray(labels)[index] / (LEVELS - 1)

  height, width, _ = task.event_shape
  return task._replace(
    prepare=prepare,
    condition_picture=condition_picture,
    num_classes=num_classes,
    description=(
      f"RGB at {height}x{width} in [0, 1) given {given}, uniform noise of a"
      " level"
    ),
  )
