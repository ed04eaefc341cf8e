"""Coloured digits: RGB given the grey digit, whose class sets the colours."""

import jax
import jax.numpy as jnp

from cinn_jax.images import color
from cinn_jax.tasks.base import Task


def color_mnist(
  *,
  image_size: int,
  mean: float = 0.48,
  std: float = 0.28,
  noise_scale: float = 0.05,
) -> Task:
  """Builds the task of colouring digits (Ardizzone et al. 2019).

  x holds standardised RGB, [B, image_size, image_size, 3], and cond the grey
  digit in [0, 1], [B, image_size, image_size, 1]. The model is not given the
  class.

  Departure: the authors train with mean 0, std 1 and noise 0.15. Our defaults
  bring the channels to zero mean and unit variance, and our noise is about a
  tenth of theirs: 0.05 * 0.28 of the pixels' range.

  Args:
    image_size: Side of the pictures, in pixels.
    mean: Mean of all channels, in [0, 1]: x = (pixel - mean) / std.
    std: Standard deviation of all channels.
    noise_scale: Standard deviation of the Gaussian noise, in units of x.

  Raises:
    ValueError: if a number is out of range. `prepare` raises it for pictures
      without the grey digit.
  """
  if std <= 0 or noise_scale < 0:
    raise ValueError(
      "color_mnist takes std above 0 and noise_scale of at least 0; got std"
      f" {std}, noise_scale {noise_scale}."
    )

  def prepare(batch):
    if "grey" not in batch:
      raise ValueError(
        "The task color_mnist needs coloured pictures together with grey ones:"
        " choose --config.data.source=color_mnist or color_digits."
      )
    x = (color.from_uint8(batch["image"]) - mean) / std
    return x, color.from_uint8(batch["grey"])[..., :1]

  def add_noise(rng, x, cond):
    return x + noise_scale * jax.random.normal(rng, x.shape), cond

  def render(x, cond):
    del cond  # x alone is the whole picture.
    return jnp.clip(x * std + mean, 0.0, 1.0)

  return Task(
    prepare=prepare,
    add_noise=add_noise,
    render=render,
    condition_picture=lambda cond: jnp.repeat(cond, 3, axis=-1),
    image_size=image_size,
    event_shape=(image_size, image_size, 3),
    cond_shape=(image_size, image_size, 1),
    scales=(255 * std,) * 3,
    description=(
      f"RGB at {image_size}x{image_size}, (pixel - {mean:g}) / {std:g}, given"
      f" the grey digit, gaussian noise {noise_scale:g}"
    ),
    condition_name="grey",
    units="steps of 256 levels",
    gaussian_noise=noise_scale,
  )
