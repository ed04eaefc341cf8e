"""Hints: a few places whose colours are known, as a part of the condition.

A map of hints [B, s, s, 3] holds (a m, b m, m): m is 1 in the cells whose
colours are known and 0 elsewhere, and a, b are in the task's own units.
"""

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array

# The distribution of training, per picture (a variant of Zhang et al. 2017):
# a geometric number of hints, and for some pictures a uniform one.
GEOMETRIC = 1 / 8
MOST_GEOMETRIC = 64
UNIFORM_SHARE = 0.1
# Squares of up to this many cells on a side, where a picture has 32.
LARGEST_OF_32 = 3


def draw(rng: Array, colors: Array, share: float) -> Array:
  """Draws maps of hints for pictures, as training needs them.

  A share of the pictures gets hints: 1 + Geometric(1/8) of them, at most 64; or
  for one in ten a uniform number up to an eighth of the cells. Half of the
  pictures have them anywhere, half around the middle. A hint is a square of 1
  to 3 cells of 32, and has its mean colour.

  Args:
    rng: A JAX random key.
    colors: The true colours without noise, [B, s, s, 2].
    share: Share of the pictures with hints, in [0, 1].

  Returns:
    Maps [B, s, s, 3].
  """
  b, side = colors.shape[:2]
  most = max(side * side // 8, 1)
  keys = jax.random.split(rng, 6)
  count = 1 + jnp.floor(
    jnp.log(jax.random.uniform(keys[0], (b,), minval=1e-12))
    / jnp.log(1 - GEOMETRIC)
  )
  count = jnp.minimum(count, min(MOST_GEOMETRIC, most))
  many = jax.random.randint(keys[1], (b,), 1, most + 1)
  kinds = jax.random.uniform(keys[2], (3, b))
  count = jnp.where(kinds[0] < UNIFORM_SHARE, many, count)
  return place(rng, colors, jnp.where(kinds[1] < share, count, 0))


def place(rng: Array, colors: Array, count: Array) -> Array:
  """Draws maps [B, s, s, 3] of `count` [B] hints each, as `draw` places them.

  Args:
    rng: A JAX random key.
    colors: As for `draw`.
    count: Numbers of hints, at most an eighth of the cells.
  """
  b, side = colors.shape[:2]
  most = max(side * side // 8, 1)
  keys = jax.random.split(rng, 6)
  anywhere = jax.random.uniform(keys[3], (b, most, 2)) * side
  middle = side / 2 + jax.random.normal(keys[4], (b, most, 2)) * side / 4
  is_middle = (jax.random.uniform(keys[2], (3, b))[2] < 0.5).reshape(b, 1, 1)
  centers = jnp.where(is_middle, middle, anywhere)
  largest = max(round(LARGEST_OF_32 * side / 32), 1)
  sizes = jax.random.randint(keys[5], (b, most), 1, largest + 1)
  starts = jnp.floor(centers - (sizes[..., None] - 1) / 2).astype(jnp.int32)
  starts = jnp.clip(starts, 0, side - sizes[..., None])
  is_given = jnp.arange(most).reshape(1, most) < count.reshape(b, 1)
  return jax.vmap(_paint)(colors, starts, sizes, is_given)


def _paint(colors, starts, sizes, is_given):
  """Returns the map [s, s, 3] of squares at `starts` [n, 2]."""
  side = colors.shape[0]
  cells = jnp.arange(side).reshape(1, side)

  def covers(axis):
    start = starts[:, axis : axis + 1]
    return (cells >= start) & (cells < start + sizes[:, None])

  rows, columns = (covers(axis).astype(colors.dtype) for axis in (0, 1))
  total = jnp.einsum(
    "ny,nx,yxc->nc", rows, columns, colors, precision="highest"
  )
  means = total / (sizes[:, None] ** 2).astype(colors.dtype)
  inside = rows[:, :, None] * columns[:, None, :] * is_given[:, None, None]
  # Of squares that overlap, the last one counts.
  order = inside * jnp.arange(1, len(sizes) + 1).reshape(-1, 1, 1)
  known = jnp.max(inside, 0)[..., None]
  return jnp.concatenate([means[jnp.argmax(order, 0)] * known, known], -1)
