"""MNIST, and sets in its format: four idx files, or what TFDS prepared.

An idx file is a header of big-endian 32-bit numbers, the magic (2051 for
pictures, 2049 for labels) and one size per axis, then one byte per value
(LeCun et al. 1998, yann.lecun.com/exdb/mnist).
"""

import gzip
import hashlib
import math
import os
import pathlib
import zlib

import numpy as np

from cinn_jax.data.base import LabelledPictures

FILES = {
  "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
  "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# The first training pictures validate, and train no more (published recipe).
VALIDATION = 1024
TFDS_SPLITS = {
  "train": f"train[{VALIDATION}:]",
  "validation": f"train[:{VALIDATION}]",
  "test": "test",
}
# SHA-256 of a file, or of what it is once unpacked: MNIST's of the latter,
# Fashion-MNIST's of the archives that it is published in.
CHECKSUMS = {
  "mnist": (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
  ),
  "fashion_mnist": (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
  ),
}
_NAMES = (*FILES["train"], *FILES["test"])
_MAGIC = {3: 2051, 1: 2049}


def open_mnist(
  path: str | os.PathLike,
  split: str,
  *,
  tfds_name: str = "mnist",
  chosen: str = "",
):
  """Opens a split: the first 1,024 training pictures are for validation.

  Args:
    path: a folder with the four idx files, packed (.gz) or not. Without it the
      set is read as TFDS prepared it, in TFDS's own order.
    split: "train", "validation" or "test".
    tfds_name: which set it is. Files of "mnist" and "fashion_mnist" are checked
      against the published ones; of another set, or "", only their form is.
    chosen: a TFDS split that overrides.

  Raises:
    FileNotFoundError: a file is missing, or nothing is prepared.
    ValueError: a file is damaged, or not what was asked for.
  """
  if path:
    if chosen:
      raise ValueError(
        f"the split {chosen!r} is of a set that TFDS prepared, and {path} has"
        " the four idx files, whose parts are fixed: leave one of them out"
      )
    return _open_files(pathlib.Path(path).expanduser(), split, tfds_name)
  if not tfds_name:
    raise ValueError(
      "source 'mnist' needs the path of a folder with the four idx files, or"
      " the tfds_name of a prepared set, such as 'mnist'"
    )
  from cinn_jax.data import tfds_images

  chosen = chosen or TFDS_SPLITS[split]
  try:
    return tfds_images.open_tfds(tfds_name, split, chosen=chosen)
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f"{error}. Or give the folder of the four idx files:"
      " --config.data.path=FOLDER"
    ) from error


def _open_files(folder, split, known):
  held = "test" if split == "test" else "train"
  names = FILES[held]
  images = _read(folder, names[0], 3, known)
  labels = _read(folder, names[1], 1, known).astype(np.int32)
  if len(images) != len(labels):
    raise ValueError(
      f"{folder} has {len(images)} pictures in {names[0]} but {len(labels)}"
      f" labels in {names[1]}: these files do not belong together"
    )
  part = _part(split, len(images))
  title = known if known in CHECKSUMS else "unchecked files"
  name = f"{title} in {folder} ({split}: {len(images[part])} pictures)"
  return LabelledPictures(name, images[part], labels[part])


def _part(split, count):
  if split == "test":
    return slice(None)
  if count <= VALIDATION:
    raise ValueError(
      f"there are {count} training pictures, expected more than the"
      f" {VALIDATION} that validate"
    )
  return slice(VALIDATION) if split == "validation" else slice(VALIDATION, None)


def _read(folder, name, rank, known):
  """An idx file's values, uint8, of `rank` axes."""
  path = _find(folder, name)
  stored = path.read_bytes()
  data = stored
  if path.suffix == ".gz":
    try:
      data = gzip.decompress(stored)
    except (EOFError, OSError, zlib.error) as error:
      raise ValueError(
        f"{path} is cut off or damaged ({error}): download it again"
      ) from error
  values = _parse(path, data, rank)
  if known in CHECKSUMS:
    expected = CHECKSUMS[known][_NAMES.index(name)]
    found = [hashlib.sha256(part).hexdigest() for part in (data, stored)]
    if expected not in found:
      raise ValueError(
        f"{path} is not the published file of {known} (SHA-256 {found[0]}):"
        " download it again, or name the set with --config.data.tfds_name="
        f"{' or '.join(CHECKSUMS)}, or with nothing to leave it unchecked"
      )
  return values


def _find(folder, name):
  for path in (folder / name, folder / f"{name}.gz"):
    if path.is_file():
      return path
  raise FileNotFoundError(
    f"there is no {name} or {name}.gz in {folder}: it takes the four files"
    f" {', '.join(_NAMES)}"
  )


def _parse(path, data, rank):
  magic, *shape = (
    int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(1 + rank)
  )
  if magic != _MAGIC[rank]:
    raise ValueError(
      f"{path} begins with {magic}, expected {_MAGIC[rank]}: it is no idx file"
      f" of {'pictures' if rank == 3 else 'labels'}"
    )
  count = max(len(data) - 4 * (1 + rank), 0)
  if count != math.prod(shape) or not count:
    raise ValueError(
      f"{path} says that it has {math.prod(shape)} values"
      f" ({'x'.join(map(str, shape))}), but has {count}: download it again"
    )
  values = np.frombuffer(data, np.uint8, offset=4 * (1 + rank))
  return values.reshape(shape)
