"""`--reference`: hints from another photograph, in its own colours.

Places in the two photographs that look alike to an image classifier are
matched, and the reference's colour at each match becomes a hint. Nothing is
trained for it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.images import color, full_resolution
from cinn_jax.images.crops import resize
from cinn_jax.models.networks.features import CHANNELS, LightnessFeatures
from cinn_jax.sampling.hints import Point

# Both photographs are compared at this size, in cells of 8 pixels.
_SIZE, _CELL = 256, 8
_CELLS = _SIZE // _CELL
_STRIDES = (4, 8)
# At most 16 matches, at least an eighth of the picture apart.
_PARTS, _MOST = 8, 16


def match(photo: np.ndarray, reference: np.ndarray) -> list[Point]:
  """Returns hints for a photograph, from a reference photograph.

  A place and its match are each other's nearest neighbours among all places, by
  the cosine similarity of their features.

  Args:
    photo: uint8 or uint16 [H, W, 3].
    reference: uint8 [h, w, 3].

  Returns:
    At most 16 points, the best match first.
  """
  similarity = _features(photo) @ _features(reference).T
  there = np.argmax(similarity, 1)
  mutual = np.argmax(similarity, 0)[there] == np.arange(len(there))
  strength = np.where(mutual, similarity.max(1), -np.inf)
  height, width = photo.shape[:2]
  colors = _colors(reference)
  return [
    Point(
      x=(place % _CELLS + 0.5) * width / _CELLS,
      y=(place // _CELLS + 0.5) * height / _CELLS,
      color=_levels(colors[there[place]]),
    )
    for place in _apart(strength)
  ]


def _levels(color):
  red, green, blue = (int(level) for level in color)
  return red, green, blue


def _apart(strength):
  """Returns the strongest places that are at least one part apart."""
  chosen: list[int] = []
  least = _CELLS / _PARTS
  for place in np.argsort(-strength, kind="stable"):
    if len(chosen) == _MOST or not np.isfinite(strength[place]):
      break
    row, column = divmod(int(place), _CELLS)
    if all(
      max(abs(row - other // _CELLS), abs(column - other % _CELLS)) >= least
      for other in chosen
    ):
      chosen.append(int(place))
  return chosen


def _colors(reference):
  """Returns the mean sRGB colour of each cell, uint8 [cells^2, 3]."""
  size = (_SIZE, _SIZE)
  small = resize(reference, (0, 0, *reference.shape[1::-1]), size)
  lab = np.asarray(color.srgb_to_lab(small.astype(np.float32) / 255))
  blocks = lab.reshape(_CELLS, _CELL, _CELLS, _CELL, 3)
  rgb = color.lab_to_srgb(blocks.mean((1, 3)))
  return np.asarray(color.to_uint8(rgb)).reshape(-1, 3)


def _features(photo):
  """Returns the classifier's features as unit vectors [cells^2, C]."""
  shape = (_SIZE, _SIZE)
  lightness = full_resolution.lightness_thumbnail(photo, shape)
  return np.asarray(_network()(jnp.asarray(lightness)[None, ..., None]))


@functools.cache
def _network():
  network = LightnessFeatures(offset=0.0, scale=1.0)
  empty = jnp.zeros((1, _SIZE, _SIZE, 1))
  variables = jax.jit(network.init)(jax.random.key(0), empty)

  @jax.jit
  def features(lightness):
    maps = network.apply(variables, lightness)
    parts = []
    for stride in _STRIDES:
      side = _SIZE // stride
      blocks = maps[side].reshape(
        _CELLS, side // _CELLS, _CELLS, side // _CELLS, CHANNELS[stride]
      )
      means = blocks.mean((1, 3)).reshape(_CELLS**2, -1)
      norm = jnp.linalg.norm(means, axis=-1, keepdims=True)
      parts.append(means / jnp.maximum(norm, 1e-6))
    # All strides have the same weight.
    return jnp.concatenate(parts, -1) / len(parts) ** 0.5

  return features
