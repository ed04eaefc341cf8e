"""Folders of pictures made for tests, and what a source has of them."""

import numpy as np

from cinn_jax.data.folder import source
from tests.support import pictures


def small(number) -> np.ndarray:
  """One of many different small pictures."""
  return np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)


def fill(place, numbers, kind="PNG"):
  place.mkdir(exist_ok=True)
  for number in numbers:
    file = place / f"{number:04d}.{kind.lower()}"
    file.write_bytes(pictures.encoded(small(number), kind))
  return place


def both(place, cache, **options):
  return [
    source.open_folder(place, split, cache=cache, **options)
    for split in ("train", "validation")
  ]


def contents(source) -> set[bytes]:
  return {record["image"].tobytes() for record in source}


def prepared(cache):
  return sorted((cache / "folders").iterdir())
