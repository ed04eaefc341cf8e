"""Coloured digits: RGB given the grey digit, which says what colours it has."""

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
  """The task of colouring digits (Ardizzone et al. 2019).

  x is RGB, standardised: [B, image_size, image_size, 3]; cond is the grey digit
  in [0, 1], [B, image_size, image_size, 1]. The class itself is not given.

  How the authors scale these pictures and what noise they add is not known, so
  the defaults are ours: mean and std bring the channels to zero mean and unit
  variance, and the noise is as large as theirs for colorization.

  Args:
    mean, std: x = (pixel - mean) / std, of all channels.
    noise_scale: N(0, noise_scale^2) is added to x, so it is in units of x.

  Raises:
    ValueError: for numbers that do not fit; by `prepare`, for pictures without
      the grey digit.
  """
  if std <= 0 or noise_scale < 0:
    raise ValueError(
      "color_mnist takes std above 0 and noise_scale 0 or more; got"
      f" {std}, {noise_scale}."
    )

  def prepare(batch):
    if "grey" not in batch:
      raise ValueError(
        "The task color_mnist needs coloured pictures with the grey ones beside"
        " them: choose --config.data.source=color_mnist or color_digits."
      )
    x = (color.from_uint8(batch["image"]) - mean) / std
    return x, color.from_uint8(batch["grey"])[..., :1]

  def add_noise(rng, x, cond):
    return x + noise_scale * jax.random.normal(rng, x.shape), cond

  def render(x, cond):
    del cond  # The grey digit is not in x's way.
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
  )
