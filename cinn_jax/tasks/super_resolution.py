"""Super-resolution: a picture given a smaller version of it."""

import jax.numpy as jnp

from cinn_jax.images import bicubic
from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks import rgb
from cinn_jax.tasks.base import Task

CONDITION_SIZES = ("native", "target")


def super_resolution(
  *,
  image_size: int | tuple[int, int],
  scale: int = 4,
  condition_size: str = "native",
  condition_noise: str = "half",
) -> Task:
  """Builds the task of enlarging pictures `scale` times.

  x holds RGB in [0, 1), [B, H, W, 3], and cond the picture in [0, 1],
  [B, H / scale, W / scale, 3], downsampled by Pillow's bicubic filter. A batch
  may come with its small pictures: "condition", uint8 of that size.

  Args:
    image_size: Size of the large pictures, S or (H, W).
    scale: Ratio of the sides, large by small.
    condition_size: "native", or "target", as in CAFLOW: the small picture is
      enlarged to [B, H, W, 3] by the same filter and rounded to 8 bits.
    condition_noise: "half" or "uniform", see `rgb.rgb_task`.

  Raises:
    ValueError: for an unknown setting, or a scale that does not divide the
      size. `prepare` raises it for small pictures of another size.
  """
  height, width = height_and_width(image_size)
  if scale < 2 or height % scale or width % scale:
    raise ValueError(
      "super_resolution takes a scale of at least 2 that divides height"
      f" {height} and width {width}, got {scale}."
    )
  if condition_size not in CONDITION_SIZES:
    raise ValueError(
      f"condition_size is {condition_size!r}, expected one of"
      f" {', '.join(CONDITION_SIZES)}."
    )
  small = (height // scale, width // scale)
  enlarged = condition_size == "target"

  def given(levels):
    return bicubic.resize(levels, (height, width)) if enlarged else levels

  def condition(batch):
    if "condition" not in batch:
      return given(bicubic.resize(batch["image"], small))
    if batch["condition"].shape[1:] != (*small, 3):
      raise ValueError(
        f"super_resolution to {height}x{width} takes small pictures of"
        f" {small[0]}x{small[1]}, got {list(batch['condition'].shape[1:])}."
      )
    return given(batch["condition"])

  def reference(cond):
    levels = rgb.levels_of(cond)
    return levels if enlarged else bicubic.resize(levels, (height, width))

  def consistency(levels, cond):
    again = given(bicubic.resize(levels, small))
    return rgb.psnr(again, rgb.levels_of(cond))

  shown = f" enlarged from {small[0]}x{small[1]}" if enlarged else ""
  cond_shape = (height, width, 3) if enlarged else (*small, 3)
  return rgb.rgb_task(
    image_size=image_size,
    cond_shape=cond_shape,
    condition=condition,
    condition_noise=condition_noise,
    condition_picture=jnp.asarray,
    given=f"RGB at {cond_shape[0]}x{cond_shape[1]}{shown}",
    condition_name=f"{small[0]}x{small[1]}",
    reference=reference,
    consistency=consistency,
    # From the enlarged picture the small one cannot be recovered.
    consistency_name="LR-PSNR, enlarged" if enlarged else "LR-PSNR",
  )
