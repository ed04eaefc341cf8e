"""Super-resolution: the picture given a smaller one of it."""

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
  """The task of enlarging pictures `scale` times.

  x is RGB in [0, 1), [B, H, W, 3]; cond the picture made smaller, as Pillow's
  bicubic filter does it, [B, H / scale, W / scale, 3] in [0, 1]. A batch may
  bring its small pictures itself, as "condition" uint8 of that size.

  Args:
    image_size: of the large pictures, S or (H, W).
    scale: how many times larger than the small ones.
    condition_size: "native"; or "target", the small picture enlarged to
      [B, H, W, 3] by the same filter and rounded to 8 bits, which is how CAFLOW
      gives it.
    condition_noise: "half" or "uniform", see `rgb.rgb_task`.

  Raises:
    ValueError: for what does not fit; by `prepare`, for small pictures of
      another size.
  """
  height, width = height_and_width(image_size)
  if scale < 2 or height % scale or width % scale:
    raise ValueError(
      f"super_resolution takes a scale of 2 or more that divides {height} and"
      f" {width}, got {scale}."
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
    # The small picture itself cannot be told from the enlarged one.
    consistency_name="LR-PSNR, enlarged" if enlarged else "LR-PSNR",
  )
