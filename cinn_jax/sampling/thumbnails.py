"""Small copies of pictures, for sheets."""

import numpy as np
from PIL import Image

from cinn_jax.images import deep_color

_SIDE = 256


def thumbnail(picture: np.ndarray) -> np.ndarray:
  """Returns a picture [H, W, 3] at no more than 256 pixels a side, uint8."""
  image = Image.fromarray(as_uint8(picture))
  image.thumbnail((_SIDE, _SIDE))
  return np.asarray(image)


def as_uint8(picture: np.ndarray) -> np.ndarray:
  """Converts a picture of 8 or 16 bits to 8 bits."""
  return deep_color.narrow(picture) if picture.dtype == np.uint16 else picture
