"""Holes for inpainting: a square, a half, or brush strokes."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

MASKS = ("square", "half", "free_form")

# Of brush strokes, in units of a picture's shorter side.
_STROKES, _SEGMENTS = 4, 5
_LENGTH = (0.1, 0.4)
_RADIUS = (0.03, 0.08)
_TURN = 0.7 * math.pi


def maker(mask: str, shape: tuple[int, int], area: float) -> Callable:
  """`hole(image uint8 [B, H, W, 3]) -> bool [B, H, W, 1]`, true in the hole.

  Args:
    mask: "square", as large as fits into `area`, in the middle (a side of 24
      pixels in 64x64 at 0.15, as CAFLOW has it); "half", the right one; or
      "free_form", four brush strokes with bends (after Yu et al. 2019).
    shape: (H, W).
    area: of the square, as a share of the picture.

  Raises:
    ValueError: for another mask or an area without a square.
  """
  if mask not in MASKS:
    raise ValueError(f"mask is one of {', '.join(MASKS)}, got {mask!r}.")
  if mask == "free_form":
    return lambda image: _strokes(_seeds(image), shape)
  hole = _square(shape, area) if mask == "square" else _half(shape)

  def same_for_all(image):
    return jnp.broadcast_to(hole[..., None], (len(image), *shape, 1))

  return same_for_all


def describe(mask: str, area: float) -> str:
  """The mask in words."""
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
  """A number [B] that depends on each picture's every level and its place."""
  levels = image.reshape(len(image), -1).astype(jnp.uint32)
  places = jnp.arange(1, levels.shape[1] + 1, dtype=jnp.uint32)
  # Odd multipliers, spread over 32 bits (Knuth); sums and products wrap.
  weights = (places * np.uint32(2654435761)) | np.uint32(1)
  return jnp.sum(levels * weights[None], axis=1, dtype=jnp.uint32)


def _strokes(seeds, shape):
  """bool [B, H, W, 1]: pixels nearer to a stroke than its brush's radius."""

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
  """Vertices [strokes, segments + 1, 2] and radii [strokes], in pixels."""
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
  """Distances of points [..., 1, 1, 2] to segments [strokes, segments, 2]."""
  lead = (1,) * (point.ndim - start.ndim)
  start, end = (v.reshape(*lead, *v.shape) for v in (start, end))
  along, towards = end - start, point - start
  share = jnp.sum(along * towards, -1) / jnp.sum(along**2, -1)
  nearest = start + jnp.clip(share, 0, 1)[..., None] * along
  return jnp.linalg.norm(point - nearest, axis=-1)
