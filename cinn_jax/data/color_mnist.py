"""Digits in colours that depend on which digit it is: colour-MNIST.

The data set that Ardizzone et al. 2019 made to show what a condition network is
for. Each class has a pair of hue clusters, one for the digit and one for the
ground behind it; a picture draws its two hues there. The clusters, the pairs
and the noise are those of the authors' code. How both colours meet on a digit's
edge is ours: they mix in RGB, in proportion to the grey level.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import hsv2rgb

# Hues: mean and standard deviation, degrees.
CLUSTERS = ((0, 20), (50, 10), (110, 30), (180, 20), (235, 25), (305, 25))
# The clusters of foreground and background, by digit.
PAIRS = (
  *((0, 2), (1, 3), (2, 4), (3, 5), (4, 0)),
  *((5, 1), (0, 4), (2, 0), (4, 2), (5, 3)),
)
SATURATION = VALUE = 0.8
# Of hue (as a part of the circle), saturation and value: the amplitude of white
# noise, and the standard deviation, in pixels, that blurs it afterwards.
NOISE = ((0.25, 4.0), (0.3, 2.0), (0.05, 0.0))
# Drawn once and for all, as the authors store theirs.
_SEED = 0


class ColoredDigits:
  """A source of grey digits with labels, coloured.

  `self[i]` is what the grey record holds, with "image" uint8 [H, W, 3] in
  colour and "grey" uint8 [H, W, 3], as it was. A record has the same colours
  every time: they depend on its number and the split alone. They are kept once
  they are made.

  Attributes:
    name: of the grey source, and that it is coloured.
    listing_hash: of the grey source.
  """

  def __init__(self, digits, split: str):
    """Colours `digits`, a `Source` of the `split` of that name."""
    self.name = f"coloured {digits.name}"
    self._digits, self._split = digits, split
    self._colored = {}

  @property
  def listing_hash(self) -> str:
    return self._digits.listing_hash

  def __len__(self) -> int:
    return len(self._digits)

  def __getitem__(self, index: int):
    record = self._digits[index]
    colored = self._colored.get(index)
    if colored is None:
      part = int.from_bytes(self._split.encode())
      generator = np.random.default_rng((_SEED, part, index))
      colored = colorize(record["image"][..., 0], record["label"], generator)
      self._colored[index] = colored
    return {**record, "image": colored, "grey": record["image"]}


def colorize(grey, digit: int, generator: np.random.Generator):
  """A grey digit, uint8 [H, W], in colours of its class: uint8 [H, W, 3].

  Raises:
    ValueError: where there are no colours for that digit.
  """
  if not 0 <= digit < len(PAIRS):
    raise ValueError(
      f"There are colours for the digits 0 to {len(PAIRS) - 1}, got the label"
      f" {digit}: choose another --config.data.tfds_name."
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
  """One colour with noise: [H, W, 3] in [0, 1]. Hue is a circle."""
  hsv = [
    (hue + hue_noise) % 1,
    np.clip(SATURATION + saturation_noise, 0, 1),
    np.clip(VALUE + value_noise, 0, 1),
  ]
  return hsv2rgb(np.stack(hsv, axis=-1))
