"""Folders of pictures for tests, and the contents of their sources."""

import numpy as np

from cinn_jax.data.folder import source
from tests.support import pictures


def small(number) -> np.ndarray:
  """Returns a picture of 6x8 pixels that depends on `number`."""
  return np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)


def fill(place, numbers, kind="PNG"):
  """Writes the pictures `small(number)` to a folder, and returns it."""
  place.mkdir(exist_ok=True)
  for number in numbers:
    file = place / f"{number:04d}.{kind.lower()}"
    file.write_bytes(pictures.encoded(small(number), kind))
  return place


def both(place, cache, **options):
  """Opens the training and validation split of a folder."""
  return [
    source.open_folder(place, split, cache=cache, **options)
    for split in ("train", "validation")
  ]


def contents(source) -> set[bytes]:
  """Returns the pixels of all pictures in a source."""
  return {record["image"].tobytes() for record in source}


def prepared(cache):
  """Returns the directories of all prepared folders in a cache."""
  return sorted((cache / "folders").iterdir())
