"""Holes for inpainting: a square, a half, or brush strokes."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array

MASKS = ("square", "half", "free_form")

# Brush strokes: their number, and the segments of each.
_STROKES, _SEGMENTS = 4, 5
# Their lengths and radii, as fractions of the shorter side of the picture.
_LENGTH = (0.1, 0.4)
_RADIUS = (0.03, 0.08)
# Largest turn between two segments.
_TURN = 0.7 * math.pi


def maker(
  mask: str, shape: tuple[int, int], area: float
) -> Callable[[Array], Array]:
  """Returns `hole(image)`: uint8 [B, H, W, 3] to bool [B, H, W, 1].

  It is true in the hole.

  Args:
    mask: "square", in the middle, the largest that fits into `area` (24x24
      pixels of 64x64 at 0.15, as in CAFLOW); "half", the right half; or
      "free_form", four bent brush strokes (after Yu et al. 2019).
    shape: (H, W).
    area: Area of the square, as a fraction of the picture's.

  Raises:
    ValueError: for another mask, or if no square has that area.
  """
  if mask not in MASKS:
    raise ValueError(f"mask must be one of {', '.join(MASKS)}, got {mask!r}.")
  if mask == "free_form":
    return lambda image: _strokes(_seeds(image), shape)
  hole = _square(shape, area) if mask == "square" else _half(shape)

  def same_for_all(image):
    return jnp.broadcast_to(hole[..., None], (len(image), *shape, 1))

  return same_for_all


def describe(mask: str, area: float) -> str:
  """Describes the mask in words."""
  return {
    "square": f"a central square of {area:g} of its area",
    "half": "its right half",
    "free_form": "brush strokes",
  }[mask]


def _square(shape, area):
  height, width = shape
  side = math.isqrt(int(area * height * width)) if area > 0 else 0
  if not 0 < side <= min(shape):
    raise ValueError(
      f"No square has {area:g} of the area of {height}x{width}: choose an area"
      " above 0 that fits."
    )
  hole = np.zeros(shape, bool)
  top, left = (height - side) // 2, (width - side) // 2
  hole[top : top + side, left : left + side] = True
  return hole


def _half(shape):
  hole = np.zeros(shape, bool)
  hole[:, shape[1] // 2 :] = True
  return hole


def _seeds(image):
  """Hashes each picture to a number: returns uint32 [B].

  It depends on the value and the position of every pixel.
  """
  levels = image.reshape(len(image), -1).astype(jnp.uint32)
  places = jnp.arange(1, levels.shape[1] + 1, dtype=jnp.uint32)
  # Odd multipliers, spread over 32 bits (Knuth). Sums and products wrap.
  weights = (places * np.uint32(2654435761)) | np.uint32(1)
  return jnp.sum(levels * weights[None], axis=1, dtype=jnp.uint32)


def _strokes(seeds, shape):
  """Draws brush strokes: returns bool [B, H, W, 1], true under a brush."""

  def one(seed):
    points, radii = _draw(jax.random.key(seed), shape)
    centers = jnp.stack(
      jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in shape), indexing="ij"), -1
    )
    starts, ends = points[:, :-1], points[:, 1:]
    # [H, W, strokes, segments].
    distance = _to_segments(centers[:, :, None, None], starts, ends)
    return jnp.any(distance < radii[None, None, :, None], axis=(2, 3))

  return jax.vmap(one)(seeds)[..., None]


def _draw(rng, shape):
  """Draws vertices [strokes, segments + 1, 2] and radii [strokes] in pixels."""
  side = min(shape)
  start, turn, length, radius = jax.random.split(rng, 4)
  extent = jnp.asarray(shape, jnp.float32)
  starts = jax.random.uniform(start, (_STROKES, 1, 2)) * extent[None, None]
  steps = (_STROKES, _SEGMENTS)
  turns = jax.random.uniform(turn, steps, minval=-_TURN, maxval=_TURN)
  first = jax.random.uniform(
    jax.random.fold_in(turn, 1), (_STROKES, 1), maxval=2 * jnp.pi
  )
  angles = first + jnp.cumsum(turns, axis=1)
  lengths = side * jax.random.uniform(
    length, steps, minval=_LENGTH[0], maxval=_LENGTH[1]
  )
  moves = lengths[..., None] * jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
  points = jnp.concatenate([starts, starts + jnp.cumsum(moves, axis=1)], axis=1)
  radii = side * jax.random.uniform(
    radius, (_STROKES,), minval=_RADIUS[0], maxval=_RADIUS[1]
  )
  return points, radii


def _to_segments(point, start, end):
  """Returns distances of points [..., 1, 1, 2] to [strokes, segments, 2]."""
  lead = (1,) * (point.ndim - start.ndim)
  start, end = (v.reshape(*lead, *v.shape) for v in (start, end))
  along, towards = end - start, point - start
  share = jnp.sum(along * towards, -1) / jnp.sum(along**2, -1)
  nearest = start + jnp.clip(share, 0, 1)[..., None] * along
  return jnp.linalg.norm(point - nearest, axis=-1)
