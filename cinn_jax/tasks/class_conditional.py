"""Grey pictures of a class: the pixels given a one-hot label."""

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
  """The task of drawing grey pictures of a class, as the MNIST cINNs do.

  x is the pixels in [0, 1], standardised: [B, image_size, image_size, 1]; cond
  is the label, one-hot [B, num_classes]. Of coloured pictures the mean of the
  channels counts.

  Args:
    mean, std: x = (pixel - mean) / std. The defaults are those of the authors'
      minimal example (Ardizzone et al. 2019, published code); their full model
      takes 0 and 1.
    noise_scale: N(0, noise_scale^2) is added to x, so it is in units of x: 0.08
      in the minimal example, 0.15 in the full model.
    levels: how many grey levels the data have; bits/dim in units of one of
      them can be compared between normalisations.

  Raises:
    ValueError: for numbers that do not fit; by `prepare`, for pictures without
      labels.
  """
  if std <= 0 or noise_scale < 0 or levels < 2 or num_classes < 1:
    raise ValueError(
      "class_conditional takes std above 0, noise_scale 0 or more, 2 levels and"
      f" 1 class at least; got {std}, {noise_scale}, {levels}, {num_classes}."
    )
  labels = np.stack(
    [sheets.text(str(k), _LABEL_SIDE) / 255 for k in range(num_classes)]
  ).astype(np.float32)

  def prepare(batch):
    if "label" not in batch:
      raise ValueError(
        "The task class_conditional needs pictures with labels, and these have"
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
  )
