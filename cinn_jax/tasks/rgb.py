"""What tasks share whose flows make whole RGB pictures, given another picture.

x is a picture of 8-bit levels v as v / 256, in [0, 1), dequantized in training
by U / 256 with U uniform on (0, 1): bits/dim in units of a level is then a
bound of what the 8-bit picture costs (Theis et al. 2016), and a uniform density
costs 8. The condition's levels c are (c + 1/2) / 256: the middle of their bins.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cinn_jax.images.crops import height_and_width
from cinn_jax.tasks.base import Task

LEVELS = 256
CONDITION_NOISES = ("half", "uniform")


def rgb_task(
  *,
  image_size: int | tuple[int, int],
  cond_shape: tuple[int, int, int],
  condition: Callable,
  condition_noise: str,
  condition_picture: Callable,
  given: str,
  condition_name: str,
  mask: Callable | None = None,
  compose: Callable | None = None,
  reference: Callable | None = None,
  consistency: Callable | None = None,
  consistency_name: str = "consistency",
) -> Task:
  """A task whose x is RGB [B, H, W, 3] and whose condition is a picture.

  Args:
    image_size: S, or (H, W).
    cond_shape: of one condition, with the mask's channel.
    condition: `(batch) -> levels` [B, h, w, C], what is given, in [0, 255].
    condition_noise: "uniform" dequantizes the condition as x, for models that
      score it; "half" leaves it at the middle of its bins.
    condition_picture: `(levels) -> levels` [B, h, w, 3], to look at.
    given: names the condition, after "given".
    condition_name: see `Task`.
    mask: `(batch) -> [B, h, w, 1]`, a last channel that gets no noise.
    compose: `(levels of a sample, cond) -> levels`, before they are shown.
    reference: `(cond) -> levels` [B, H, W, 3], real numbers; see `Task`.
    consistency: `(levels of a sample [B, H, W, 3], cond) -> dB [B]`.
    consistency_name: see `Task`.

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
    "uniform": "so that of the condition",
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


def levels_of(x):
  """The 8-bit levels that numbers in [0, 1) stand for, as float32."""
  return jnp.clip(jnp.floor(x * LEVELS), 0, LEVELS - 1)


def luma(levels):
  """Pillow's mode "L" of RGB levels [..., 3]: [..., 1], to the last bit.

  ITU-R BT.601, in 16 fractional bits and rounded.
  """
  weights = jnp.array([[19595], [38470], [7471]])
  total = jnp.matmul(jnp.asarray(levels, jnp.int32), weights)
  return ((total + (1 << 15)) >> 16).astype(levels.dtype)


def psnr(levels, truth, weights=None):
  """dB [B] between pictures [B, H, W, C] of levels; infinite for equal ones.

  `weights` [B, H, W, 1] says what counts.
  """
  squares = (levels - truth) ** 2
  axes = (1, 2, 3)
  if weights is None:
    error = jnp.mean(squares, axes)
  else:
    count = jnp.sum(weights, axes) * squares.shape[-1]
    error = jnp.sum(squares * weights, axes) / jnp.maximum(count, 1)
  return 20 * jnp.log10(LEVELS - 1.0) - 10 * jnp.log10(error)


def _within_a_level(rng, shape):
  """Uniform on (0, 1) / 256, in steps of 2^-15 of a level.

  With these, level + noise is exact in float32: none reaches the next level by
  rounding, which 24 bits of noise do at times.
  """
  steps = jnp.floor(jax.random.uniform(rng, shape) * 2**15)
  return (steps + 0.5) / (2**15 * LEVELS)
