"""The base of tasks that make whole RGB pictures given another picture.

x is v / 256 for 8-bit levels v, in [0, 1). Training dequantizes it: it adds
U / 256, with U uniform on (0, 1). Bits/dim in units of a level is then an upper
bound on the cost of the 8-bit picture (Theis et al. 2016), and a uniform
density costs 8 bits. A level c of the condition becomes (c + 1/2) / 256, the
middle of its bin.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array
from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks.base import Batch, Task

LEVELS = 256
CONDITION_NOISES = ("half", "uniform")


def rgb_task(
  *,
  image_size: int | tuple[int, int],
  cond_shape: tuple[int, ...],
  condition: Callable[[Batch], Array],
  condition_noise: str,
  condition_picture: Callable[[Array], Array],
  given: str,
  condition_name: str,
  mask: Callable[[Batch], Array] | None = None,
  compose: Callable[[Array, Array], Array] | None = None,
  reference: Callable[[Array], Array] | None = None,
  consistency: Callable[[Array, Array], Array] | None = None,
  consistency_name: str = "consistency",
) -> Task:
  """Builds a task whose x is RGB [B, H, W, 3] and whose condition is a picture.

  Args:
    image_size: S, or (H, W).
    cond_shape: Shape of one condition, including the mask channel.
    condition: `(batch) -> levels`, the condition in [0, 255], [B, h, w, C].
    condition_noise: "uniform" dequantizes the condition as it does x, for
      models that score the condition; "half" leaves it at the middle of its
      bins.
    condition_picture: `(levels) -> levels`, the condition as a picture,
      [B, h, w, 3].
    given: Name of the condition, to follow the word "given".
    condition_name: See `Task`.
    mask: `(batch) -> [B, h, w, 1]`, a last channel of the condition, which gets
      no noise.
    compose: `(levels, cond) -> levels`, applied to a sample before it is shown.
    reference: `(cond) -> levels`, real numbers [B, H, W, 3]; see `Task`.
    consistency: `(levels, cond) -> dB [B]`, for the levels [B, H, W, 3] of a
      sample; see `Task`.
    consistency_name: See `Task`.

  Raises:
    ValueError: for an unknown noise.
  """
  if condition_noise not in CONDITION_NOISES:
    raise ValueError(
      f"condition_noise is {condition_noise!r}, expected one of"
      f" {', '.join(CONDITION_NOISES)}."
    )
  height, width = height_and_width(image_size)

  def prepare(batch):
    x = batch["image"].astype(jnp.float32) / LEVELS
    cond = (condition(batch).astype(jnp.float32) + 0.5) / LEVELS
    if mask is not None:
      cond = jnp.concatenate([cond, mask(batch).astype(jnp.float32)], -1)
    return x, cond

  def add_noise(rng, x, cond):
    x_rng, cond_rng = jax.random.split(rng)
    x = x + _within_a_level(x_rng, x.shape)
    if condition_noise == "uniform":
      noise = _within_a_level(cond_rng, cond.shape) - 0.5 / LEVELS
      if mask is not None:
        noise = noise.at[..., -1].set(0.0)
      cond = cond + noise
    return x, cond

  def render(x, cond):
    levels = levels_of(x)
    if compose is not None:
      levels = compose(levels, cond)
    return levels / (LEVELS - 1)

  def as_rgb(function):
    return lambda cond: function(cond) / (LEVELS - 1)

  def agreement(rgb, cond):
    return consistency(jnp.round(rgb * (LEVELS - 1)), cond)

  noise = {
    "half": "the condition at the middle of its levels",
    "uniform": "also on the condition",
  }[condition_noise]
  return Task(
    prepare=prepare,
    add_noise=add_noise,
    render=render,
    condition_picture=as_rgb(lambda cond: condition_picture(levels_of(cond))),
    image_size=image_size,
    event_shape=(height, width, 3),
    cond_shape=cond_shape,
    scales=(float(LEVELS),) * 3,
    description=(
      f"RGB at {height}x{width} in [0, 1) given {given}, uniform noise of a"
      f" level, {noise}"
    ),
    condition_name=condition_name,
    units="8-bit levels",
    reference=None if reference is None else as_rgb(reference),
    consistency=None if consistency is None else agreement,
    consistency_name=consistency_name,
  )


def levels_of(x: Array) -> Array:
  """Returns the 8-bit levels of numbers in [0, 1), as float32."""
  return jnp.clip(jnp.floor(x * LEVELS), 0, LEVELS - 1)


def luma(levels: Array) -> Array:
  """Converts RGB levels [..., 3] to luma [..., 1], exactly as Pillow does.

  The weights are those of ITU-R BT.601 in 16 fractional bits; the result is
  rounded. It is Pillow's mode "L".
  """
  weights = jnp.array([[19595], [38470], [7471]])
  total = jnp.matmul(jnp.asarray(levels, jnp.int32), weights)
  return ((total + (1 << 15)) >> 16).astype(levels.dtype)


def psnr(levels: Array, truth: Array, weights: Array | None = None) -> Array:
  """Returns the PSNR [B] in dB of levels [B, H, W, C]; infinite if they match.

  `weights`, [B, H, W, 1], weights the pixels: 1 counts a pixel, 0 ignores it.
  """
  squares = (levels - truth) ** 2
  axes = (1, 2, 3)
  if weights is None:
    error = jnp.mean(squares, axes)
  else:
    count = jnp.sum(weights, axes) * squares.shape[-1]
    error = jnp.sum(squares * weights, axes) / jnp.maximum(count, 1)
  return 10 * jnp.log10((LEVELS - 1.0) ** 2 / error)


def _within_a_level(rng, shape):
  """Draws uniform noise on (0, 1) / 256, in steps of 2^-15 of a level.

  A level plus this noise is exact in float32, so rounding never reaches the
  next level. With noise of 24 bits it sometimes does.
  """
  steps = jnp.floor(jax.random.uniform(rng, shape) * 2**15)
  return (steps + 0.5) / (2**15 * LEVELS)
