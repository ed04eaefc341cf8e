"""Colourfulness: how strong and how varied the colours of a picture are."""

import numpy as np


def colorfulness(pictures: np.ndarray) -> np.ndarray:
  """Returns the colourfulness of pictures [..., H, W, 3], uint8, as [...].

  With rg = |R - G| and yb = |(R + G) / 2 - B| of levels up to 255 it is

    sqrt(std(rg)^2 + std(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2)

  as colorizers report it (DDColor, Kang et al. 2023). Hasler and Suesstrunk
  2003, who introduced it, take the differences with their signs.
  """
  red, green, blue = np.moveaxis(np.asarray(pictures, np.float64), -1, 0)
  differences = np.abs(red - green), np.abs((red + green) / 2 - blue)
  deviations = [d.std(axis=(-2, -1)) for d in differences]
  means = [d.mean(axis=(-2, -1)) for d in differences]
  return np.hypot(*deviations) + 0.3 * np.hypot(*means)
