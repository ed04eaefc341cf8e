"""Ten names of colours, for odds: grey, and nine sectors of hue.

Sectors are 40 degrees wide in the plane of a and b. They begin at 27 degrees,
so that no primary colour of sRGB lies on a border: red is at 40 degrees, green
at 136 and blue at 306.
"""

import numpy as np

# Below this chroma a colour counts as grey.
GREY_CHROMA = 8.0
_START, _SECTOR = 27.0, 40.0
NAMES = (
  "grey",
  "red-brown",
  "yellow",
  "green",
  "sea green",
  "cyan",
  "light blue",
  "blue",
  "purple",
  "pink",
)


def indices(ab: np.ndarray) -> np.ndarray:
  """Returns the index in `NAMES` of ab [..., 2] in Lab units: int [...].

  >>> import numpy as np
  >>> [NAMES[k] for k in indices(np.array([[0.0, -3.0], [80.1, 67.2]]))]
  ['grey', 'red-brown']
  """
  a, b = np.moveaxis(np.asarray(ab, np.float64), -1, 0)
  hue = np.degrees(np.arctan2(b, a))
  # Rounding may put a hue just below the start into a tenth sector.
  sector = np.floor((hue - _START) % 360 / _SECTOR).astype(int) % 9
  return np.where(np.hypot(a, b) < GREY_CHROMA, 0, 1 + sector)
