"""Grey pictures of a class: pixels given a one-hot label."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.images import sheets
from cinn_jax.tasks.base import Task

_LABEL_SIDE = 64


def class_conditional(
  *,
  image_size: int,
  num_classes: int = 10,
  mean: float = 0.128,
  std: float = 0.305,
  noise_scale: float = 0.08,
  levels: int = 256,
) -> Task:
  """Builds the task of drawing grey pictures of a class (the MNIST cINNs').

  x holds standardised pixels, [B, image_size, image_size, 1], and cond the
  one-hot label, [B, num_classes]. Colour pictures are averaged over their
  channels.

  Args:
    image_size: Side of the pictures, in pixels.
    num_classes: Number of classes; labels are 0 to num_classes - 1.
    mean: Mean of the pixels, in [0, 1]: x = (pixel - mean) / std.
    std: Standard deviation of the pixels. The defaults of mean and std are
      those of the authors' minimal example (Ardizzone et al. 2019, published
      code); their full model uses 0 and 1.
    noise_scale: Standard deviation of the Gaussian noise, in units of x: 0.08
      in the minimal example, 0.15 in the full model.
    levels: Number of grey levels in the data. Bits/dim in units of one level
      can be compared across normalisations.

  Raises:
    ValueError: if a number is out of range. `prepare` raises it for pictures
      without labels.
  """
  if std <= 0 or noise_scale < 0 or levels < 2 or num_classes < 1:
    raise ValueError(
      "class_conditional takes std above 0, noise_scale of at least 0, at least"
      f" 2 levels and at least 1 class; got std {std}, noise_scale"
      f" {noise_scale}, levels {levels}, num_classes {num_classes}."
    )
  labels = np.stack(
    [sheets.text(str(k), _LABEL_SIDE) / 255 for k in range(num_classes)]
  ).astype(np.float32)

  def prepare(batch):
    if "label" not in batch:
      raise ValueError(
        "The task class_conditional needs pictures with labels, but these have"
        " none: choose another --config.data.source."
      )
    grey = jnp.mean(batch["image"].astype(jnp.float32), -1, keepdims=True)
    x = (grey / 255 - mean) / std
    return x, jax.nn.one_hot(batch["label"], num_classes)

  def add_noise(rng, x, cond):
    return x + noise_scale * jax.random.normal(rng, x.shape), cond

  def render(x, cond):
    grey = jnp.clip(x * std + mean, 0.0, 1.0)
    return jnp.repeat(grey, 3, axis=-1)

  def condition_picture(cond):
    return jnp.asarray(labels)[jnp.argmax(cond, axis=-1)]

  return Task(
    prepare=prepare,
    add_noise=add_noise,
    render=render,
    condition_picture=condition_picture,
    image_size=image_size,
    event_shape=(image_size, image_size, 1),
    cond_shape=(num_classes,),
    scales=((levels - 1) * std,),
    description=(
      f"grey pixels at {image_size}x{image_size}, (pixel - {mean:g}) /"
      f" {std:g}, given one of {num_classes} classes, gaussian noise"
      f" {noise_scale:g}"
    ),
    condition_name="class",
    units=f"steps of {levels} grey levels",
    num_classes=num_classes,
    gaussian_noise=noise_scale,
  )
