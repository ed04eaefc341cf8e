"""Temperatures as text: `0.8`, or `1:0.8:0` by level.

A temperature scales the standard normal latents before they are turned into
samples: one number for all, or one for each latent, in the order of
`Flow.latent_shapes`.
"""

import math
from collections.abc import Sequence
from typing import Any

from cinn_jax.runtime import storage


def parse(text: str) -> float | list[float]:
  """Converts a text to a number, or to numbers by level.

  >>> parse("0.8"), parse("1:0.8:0")
  (0.8, [1.0, 0.8, 0.0])

  Raises:
    ValueError: for anything but numbers of 0 or more.
  """
  try:
    numbers = [float(part) for part in text.split(":")]
  except ValueError:
    numbers = [math.nan]
  if not all(0 <= number < math.inf for number in numbers):
    raise ValueError(
      f"temperature {text!r} is not a number of 0 or more, nor one per level,"
      " such as 1:0.8:0."
    )
  return numbers if len(numbers) > 1 else numbers[0]


def name(temperature: float | Sequence[float]) -> str:
  """Converts a temperature to a text for `parse`.

  >>> name(1.0), name([1.0, 0.8, 0.0])
  ('1', '1:0.8:0')
  """
  levels = temperature if isinstance(temperature, Sequence) else (temperature,)
  return ":".join(f"{level:g}" for level in levels)


def label(
  text: str,
  temperature: float | Sequence[float],
  temperatures: Sequence[float | Sequence[float]],
) -> str:
  """Adds a temperature to a row's name if there are several.

  >>> label("samples", 0.5, [0.5, 1.0]), label("samples", 0.5, [0.5])
  ('samples, temperature 0.5', 'samples')
  """
  if len(temperatures) == 1:
    return text
  return f"{text}, temperature {name(temperature)}"


def names(temperatures: Sequence[float | Sequence[float]]) -> str:
  """Converts several temperatures to a text for `--temperature`.

  >>> names([0.5, [1.0, 0.8, 0.0]])
  '0.5,1:0.8:0'
  """
  return ",".join(map(name, temperatures))


def folders(
  folder, temperatures: Sequence[float | list[float]]
) -> list[tuple[Any, float | list[float]]]:
  """Pairs each temperature with a folder for its results.

  A single temperature gets `folder` itself; several get a subfolder each.
  """
  if len(temperatures) == 1:
    return [(folder, temperatures[0])]
  return [
    (
      storage.path(folder) / f"temperature_{name(value).replace(':', '_')}",
      value,
    )
    for value in temperatures
  ]
