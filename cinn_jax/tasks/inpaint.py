"""Inpainting: the whole picture given the part around a hole."""

import jax.numpy as jnp

from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks import holes, rgb
from cinn_jax.tasks.base import Task


def inpaint(
  *,
  image_size: int | tuple[int, int],
  mask: str = "square",
  area: float = 0.15,
  mask_channel: bool = True,
  compose: bool = True,
  condition_noise: str = "half",
) -> Task:
  """Builds the task of filling a hole in a picture.

  x holds RGB in [0, 1), [B, H, W, 3]. cond is [B, H, W, 4]: the picture in
  [0, 1] with a black hole, and a mask channel, 1 for known pixels and 0 in the
  hole. A batch may come with its own holes: "hole", uint8 [B, H, W, C], where
  values of 128 and above are the hole.

  Args:
    image_size: S or (H, W).
    mask: "square", in the middle; "half", the right half; or "free_form", brush
      strokes that depend only on the picture. See `holes`.
    area: Area of the square, as a fraction of the picture's.
    mask_channel: False leaves out the mask channel, as CAFLOW does. The hole is
      then the same in all pictures.
    compose: Whether `render` shows known pixels as they were given; if False,
      as the model generates them.
    condition_noise: "half" or "uniform", see `rgb.rgb_task`.

  Raises:
    ValueError: for an unknown mask or noise, an area that no square has, or
      free-form holes without a mask channel.
  """
  height, width = height_and_width(image_size)
  make_hole = holes.maker(mask, (height, width), area)
  if not mask_channel and mask == "free_form":
    raise ValueError(
      "inpaint with mask 'free_form' needs mask_channel=True: otherwise the"
      " model cannot know where the hole is."
    )

  def known_of_batch(batch):
    if "hole" in batch:
      if not mask_channel:
        raise ValueError(
          "This run was trained with one fixed hole (mask_channel=False) and"
          " takes no other holes."
        )
      return jnp.all(batch["hole"] < 128, axis=-1, keepdims=True)
    return ~make_hole(batch["image"])

  def known_of(cond):
    if mask_channel:
      return cond[..., -1:]
    blank = jnp.zeros((cond.shape[0], height, width, 3), jnp.uint8)
    return (~make_hole(blank)).astype(cond.dtype)

  def condition(batch):
    return jnp.where(known_of_batch(batch), batch["image"], 0)

  def given(cond):
    return rgb.levels_of(cond[..., :3])

  def composed(levels, cond):
    return jnp.where(known_of(cond) > 0.5, given(cond), levels)

  def reference(cond):
    known = known_of(cond)
    axes = (1, 2)
    count = jnp.maximum(jnp.sum(known, axes, keepdims=True), 1)
    mean = jnp.sum(given(cond) * known, axes, keepdims=True) / count
    return jnp.where(known > 0.5, given(cond), mean)

  def consistency(levels, cond):
    return rgb.psnr(levels, given(cond), known_of(cond))

  return rgb.rgb_task(
    image_size=image_size,
    cond_shape=(height, width, 4 if mask_channel else 3),
    condition=condition,
    condition_noise=condition_noise,
    condition_picture=lambda levels: levels[..., :3],
    given=f"it with a hole ({holes.describe(mask, area)})",
    condition_name="with a hole",
    mask=known_of_batch if mask_channel else None,
    compose=composed if compose else None,
    reference=reference,
    consistency=consistency,
    consistency_name="known-pixel PSNR",
  )
