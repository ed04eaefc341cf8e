"""Temperatures as users give and read them: `0.8`, or `1:0.8:0` by level.

A temperature scales the standard normal latents before they are turned into
samples: one number for all, or one for each latent, in the order of
`Flow.latent_shapes`.
"""

import math
from collections.abc import Sequence

from cinn_jax.runtime import storage


def parse(text: str) -> float | list[float]:
  """A number, or a list of one per level.

  >>> parse("0.8"), parse("1:0.8:0")
  (0.8, [1.0, 0.8, 0.0])

  Raises:
    ValueError: for what is not numbers of 0 or more.
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
  """What `parse` takes.

  >>> name(1.0), name([1.0, 0.8, 0.0])
  ('1', '1:0.8:0')
  """
  levels = temperature if isinstance(temperature, Sequence) else (temperature,)
  return ":".join(f"{level:g}" for level in levels)


def each(texts: Sequence[str], folder):
  """`[(folder, temperature)]` of texts to parse: one in `folder` itself.

  Of several each has a folder there. Raises what `parse` does; for none too.
  """
  several = [parse(text) for text in texts or [""]]
  if len(several) == 1:
    return [(folder, *several)]
  labels = [name(temperature).replace(":", "_") for temperature in several]
  return [
    (storage.path(folder) / f"temperature_{label}", temperature)
    for label, temperature in zip(labels, several, strict=True)
  ]
