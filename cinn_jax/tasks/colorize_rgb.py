"""Colorization as in CAFLOW: all of RGB given the luma."""

import jax.numpy as jnp

from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks import rgb
from cinn_jax.tasks.base import Task


def colorize_rgb(
  *,
  image_size: int | tuple[int, int],
  condition_channels: int = 1,
  condition_noise: str = "half",
) -> Task:
  """Builds the task of colouring pictures: RGB given the luma.

  x holds RGB in [0, 1), [B, H, W, 3], and cond the luma of Pillow's mode "L" in
  [0, 1], [B, H, W, condition_channels]. A sample need not keep the luma of its
  condition: `Task.consistency` measures how closely it does. The task
  `colorize` models only the colours of Lab and keeps the lightness.

  Args:
    image_size: S or (H, W).
    condition_channels: 1, or 3 for three equal channels, as in CAFLOW.
    condition_noise: "half" or "uniform", see `rgb.rgb_task`.

  Raises:
    ValueError: for another number of channels, or another noise.
  """
  if condition_channels not in (1, 3):
    raise ValueError(
      "condition_channels must be 1, or 3 for three equal ones; got"
      f" {condition_channels}."
    )
  height, width = height_and_width(image_size)

  def condition(batch):
    luma = rgb.luma(batch["image"])
    return jnp.repeat(luma, condition_channels, axis=-1)

  def grey(levels):
    return jnp.repeat(levels[..., :1], 3, axis=-1)

  def consistency(levels, cond):
    return rgb.psnr(rgb.luma(levels), rgb.levels_of(cond[..., :1]))

  return rgb.rgb_task(
    image_size=image_size,
    cond_shape=(height, width, condition_channels),
    condition=condition,
    condition_noise=condition_noise,
    condition_picture=grey,
    given="its luma",
    condition_name="luma",
    reference=lambda cond: grey(rgb.levels_of(cond)),
    consistency=consistency,
    consistency_name="luma PSNR",
  )
