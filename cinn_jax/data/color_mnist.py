"""Colour-MNIST: digits whose colours depend on their class.

Ardizzone et al. 2019 made this data set to show the purpose of a condition
network. Each class has two clusters of hues, one for the digit and one for the
background, and each picture draws one hue from either. The clusters, the pairs
and the noise are those of the authors' code. The edges are our own choice:
there, the two colours mix in RGB in proportion to the grey level.
"""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import hsv2rgb

from cinn_jax.data.base import Source

# Mean and standard deviation of each cluster's hues, in degrees.
CLUSTERS = ((0, 20), (50, 10), (110, 30), (180, 20), (235, 25), (305, 25))
# The clusters of the foreground and the background, for the digits 0 to 9.
PAIRS = (
  (0, 2),
  (1, 3),
  (2, 4),
  (3, 5),
  (4, 0),
  (5, 1),
  (0, 4),
  (2, 0),
  (4, 2),
  (5, 3),
)
SATURATION = VALUE = 0.8
# Noise of the hue (as a fraction of the circle), the saturation and the value:
# the amplitude of white noise, and the standard deviation, in pixels, of the
# blur that follows.
NOISE = ((0.25, 4.0), (0.3, 2.0), (0.05, 0.0))
# Fixed, because the authors store one coloured set as well.
_SEED = 0


class ColoredDigits:
  """A source of grey digits with labels, in colour.

  `self[i]` is the grey record, with the coloured picture as "image", uint8
  [H, W, 3], and the grey one as "grey", uint8 [H, W, 3]. A record always has
  the same colours: they depend only on its index and its split. Coloured
  pictures are kept in memory.
  """

  def __init__(self, digits: Source, split: str):
    """Colours `digits`, which is the split with the name `split`."""
    self._digits, self._split = digits, split
    self._colored: dict[int, np.ndarray] = {}

  @property
  def name(self) -> str:
    return f"coloured {self._digits.name}"

  @property
  def listing_hash(self) -> str:
    """The hash of the grey source."""
    return self._digits.listing_hash

  def __len__(self) -> int:
    return len(self._digits)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self._digits[index]
    colored = self._colored.get(index)
    if colored is None:
      part = int.from_bytes(self._split.encode())
      generator = np.random.default_rng((_SEED, part, index))
      colored = colorize(record["image"][..., 0], record["label"], generator)
      self._colored[index] = colored
    return {**record, "image": colored, "grey": record["image"]}


def colorize(
  grey: np.ndarray, digit: int, generator: np.random.Generator
) -> np.ndarray:
  """Colours a grey digit, uint8 [H, W], with random hues of its class.

  Returns:
    uint8 [H, W, 3].

  Raises:
    ValueError: There are no colours for that digit.
  """
  if not 0 <= digit < len(PAIRS):
    raise ValueError(
      f"there are colours only for the digits 0 to {len(PAIRS) - 1}, got the"
      f" label {digit}: choose another --config.data.tfds_name"
    )
  hues = [generator.normal(*CLUSTERS[cluster]) for cluster in PAIRS[digit]]
  noise = [
    amplitude * gaussian_filter(generator.standard_normal(grey.shape), blur)
    for amplitude, blur in NOISE
  ]
  foreground, background = (_paint(hue / 360, *noise) for hue in hues)
  share = grey[..., None] / 255
  rgb = share * foreground + (1 - share) * background
  return np.round(255 * rgb).astype(np.uint8)


def _paint(hue, hue_noise, saturation_noise, value_noise):
  """Returns one colour with noise: [H, W, 3] in [0, 1]. Hues wrap around."""
  hsv = [
    (hue + hue_noise) % 1,
    np.clip(SATURATION + saturation_noise, 0, 1),
    np.clip(VALUE + value_noise, 0, 1),
  ]
  return hsv2rgb(np.stack(hsv, axis=-1))
