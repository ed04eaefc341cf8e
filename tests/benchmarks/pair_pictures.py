"""The pictures of `pair_comparison.py`, all in memory."""

import io
import zipfile
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cinn_jax.data.base import hash_parts
from cinn_jax.images import crops
from cinn_jax.tasks.rgb import luma

# Every fifth picture, by sorted names, is for testing.
_EVERY = 5
# Pictures are copies if their grey 16x16 thumbnails differ by less than this,
# on average, in 8-bit levels.
_THUMBNAIL, _SAME = 16, 4.0


class Pictures(NamedTuple):
  """A `Source` of pictures of one size.

  Attributes:
    name: Name for logs.
    images: uint8 [N, S, S, 3].
  """

  name: str
  images: np.ndarray

  @property
  def listing_hash(self) -> str:
    return hash_parts(image.tobytes() for image in self.images)

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: Any) -> dict[str, np.ndarray]:  # type: ignore[override]
    return {"image": self.images[index]}


def read(
  path: str, kind: str, size: int, limit: int | None = None
) -> tuple[Pictures, Pictures, int]:
  """Returns pictures for training and testing, and the number of copies.

  Each picture is cropped to its central square and resized. Every fifth one, by
  name, is for testing. Copies are training pictures that look like a test
  picture; they are left out.

  Args:
    path: A zip file with a folder of pictures for each kind.
    kind: Name of the folder.
    size: Side of the pictures.
    limit: Keeps this many test pictures, the first ones; None for all.

  Raises:
    ValueError: if the file has no such folder.
  """
  names, pictures = [], []
  for name, picture in _each(path, kind):
    box = crops.central_box(picture.shape[1], picture.shape[0])
    names.append(name)
    pictures.append(crops.resize(picture, box, size))
  if not names:
    raise ValueError(f"{path} has no pictures in {kind}/.")
  images = np.stack(pictures)
  is_test = np.arange(len(images)) % _EVERY == 0
  train, test = images[~is_test], images[is_test]
  copies = find_copies(train, test)
  kept = train[~copies]
  return (
    Pictures(f"{kind}, train: {len(kept)}", kept),
    Pictures(f"{kind}, test: {len(test[:limit])}", test[:limit]),
    int(copies.sum()),
  )


def prepare(path: str, output: str, kinds: tuple[str, ...], size: int) -> None:
  """Writes the pictures of some folders at this size, without loss."""
  with zipfile.ZipFile(output, "w") as archive:
    for kind in kinds:
      for name, picture in _each(path, kind):
        box = crops.central_box(picture.shape[1], picture.shape[0])
        small = crops.resize(picture, box, size)
        file = io.BytesIO()
        Image.fromarray(small).save(file, "WEBP", lossless=True, method=6)
        stem = name.rpartition(".")[0]
        archive.writestr(f"{stem}.webp", file.getvalue())


def _each(path, kind):
  with zipfile.ZipFile(path) as archive:
    for name in sorted(archive.namelist()):
      if name.startswith(f"{kind}/") and not name.endswith("/"):
        with archive.open(name) as file:
          yield name, np.asarray(Image.open(file).convert("RGB"))


def find_copies(train: np.ndarray, test: np.ndarray) -> np.ndarray:
  """Marks the training pictures that look like a test picture, bool [N]."""
  few, other = (_thumbnails(images) for images in (train, test))
  return np.array(
    [np.abs(other - one).mean(axis=1).min() < _SAME for one in few], bool
  )


def _thumbnails(images):
  grey = np.asarray(luma(images), np.float32)[..., 0]
  cell = images.shape[1] // _THUMBNAIL
  cells = grey.reshape(len(grey), _THUMBNAIL, cell, _THUMBNAIL, cell)
  return cells.mean(axis=(2, 4)).reshape(len(grey), -1)


def batches(count: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
  """Returns the pictures of each step, int [steps, batch_size].

  Epochs are shuffled as in `loader.training_batches`.
  """
  epochs = -(-steps * batch_size // count)
  order = [
    np.random.default_rng((seed, epoch)).permutation(count)
    for epoch in range(epochs)
  ]
  return np.concatenate(order)[: steps * batch_size].reshape(steps, batch_size)
