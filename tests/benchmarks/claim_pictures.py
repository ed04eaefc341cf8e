"""The pictures of `claims.py` and `ablations.py`, all in memory."""

import io
import os
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np
import pair_pictures
from ml_collections import ConfigDict
from PIL import Image

from cinn_jax.data import loader
from cinn_jax.experiment.build import build, open_source
from cinn_jax.images import crops
from cinn_jax.runtime import storage

# In each twenty photographs, sorted by name, the first is for testing and the
# second for validation.
_EVERY = 20
_SUFFIXES = (".jpg", ".jpeg", ".png")


class Split(NamedTuple):
  """Pictures for training, validation and testing.

  Attributes:
    train, validation, test: Records as arrays: "image" uint8 [N, S, S, 3], and
      "label" int32 [N] for digits.
    copies: Number of training pictures that were left out, because they look
      like a test picture.
  """

  train: dict[str, np.ndarray]
  validation: dict[str, np.ndarray]
  test: dict[str, np.ndarray]
  copies: int = 0


def photographs(path: str, size: int, cache: str, limit: int = 0) -> Split:
  """Returns the photographs of a zip file, cut to squares of this size.

  Args:
    path: A zip file of photographs.
    size: Side in pixels.
    cache: Folder that keeps the small pictures from one run to the next.
    limit: Number of pictures for validation and for testing, spread evenly; 0
      for all.
  """
  facts = os.stat(path)
  # A file that was replaced gets pictures of its own.
  stamp = f"{facts.st_size:x}-{facts.st_mtime_ns:x}"
  stem = pathlib.Path(path).stem
  file = pathlib.Path(cache) / f"{stem}-{size}-{stamp}.npz"
  if not file.exists():
    images = np.stack([_square(image, size) for image in _each(path)])
    content = io.BytesIO()
    np.savez(content, images=images)
    file.parent.mkdir(parents=True, exist_ok=True)
    storage.write_whole(file, content.getvalue())
  images = np.load(file)["images"]
  place = np.arange(len(images)) % _EVERY
  train, test = images[place > 1], images[place == 0]
  copies = pair_pictures.find_copies(train, test)
  return Split(
    {"image": train[~copies]},
    {"image": spread(images[place == 1], limit)},
    {"image": spread(test, limit)},
    int(copies.sum()),
  )


def _each(path):
  with zipfile.ZipFile(path) as archive:
    for name in sorted(archive.namelist()):
      if name.lower().endswith(_SUFFIXES) and "__MACOSX" not in name:
        with archive.open(name) as file:
          yield np.asarray(Image.open(file).convert("RGB"))


def _square(image, size):
  box = crops.central_box(image.shape[1], image.shape[0])
  return crops.resize(image, box, size)


def digits(config: ConfigDict, limit: int = 0) -> Split:
  """Returns the labelled digits of a config, in its own splits.

  Args:
    config: The config of a class-conditional run.
    limit: As for `photographs`.
  """
  task = build(config)[1]

  def read(split):
    batches = loader.evaluation_batches(
      open_source(config, task, split),
      image_size=task.image_size,
      batch_size=256,
    )
    parts = [
      {k: v[batch["mask"]] for k, v in batch.items() if k in ("image", "label")}
      for batch in batches
    ]
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

  held = [read(split) for split in ("validation", "test")]
  return Split(
    read("train"),
    *({k: spread(v, limit) for k, v in part.items()} for part in held),
  )


def spread(values: np.ndarray, limit: int) -> np.ndarray:
  """Returns `limit` evenly spread rows, or all of them for 0."""
  if not 0 < limit < len(values):
    return values
  return values[np.arange(limit) * len(values) // limit]
