"""MNIST and sets in its format, from four idx files or prepared by TFDS.

An idx file is a header of big-endian 32-bit numbers, followed by one byte per
value. The header has a magic number (2051 for pictures, 2049 for labels) and
one size per axis (LeCun et al. 1998, yann.lecun.com/exdb/mnist).
"""

import gzip
import hashlib
import math
import os
import pathlib
import zlib

import numpy as np

from cinn_jax.data.base import LabelledPictures, Source

FILES = {
  "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
  "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# The published recipe validates on the first training pictures, and does not
# train on them.
VALIDATION = 1024
TFDS_SPLITS = {
  "train": f"train[{VALIDATION}:]",
  "validation": f"train[:{VALIDATION}]",
  "test": "test",
}
# SHA-256 in the order of `_NAMES`: for MNIST of the unpacked files, for
# Fashion-MNIST of the archives, as they were published.
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
_PACKED = ("fashion_mnist",)
_NAMES = (*FILES["train"], *FILES["test"])
_MAGIC = {3: 2051, 1: 2049}


def open_mnist(
  path: str | os.PathLike,
  split: str,
  *,
  tfds_name: str = "mnist",
  tfds_split: str = "",
) -> Source:
  """Opens a split; the first 1,024 training pictures are for validation.

  Args:
    path: A folder with the four idx files, packed (.gz) or not; those of
      "fashion_mnist" are packed. If it is empty, the set that TFDS prepared is
      read, in TFDS's order.
    split: "train", "validation" or "test".
    tfds_name: Name of the data set. Files of "mnist" and "fashion_mnist" are
      compared with the published ones by their checksums. For any other name,
      or "", only the format is checked.
    tfds_split: A TFDS split to open in place of the default one.

  Raises:
    FileNotFoundError: A file is missing, or TFDS has prepared nothing.
    ValueError: A file is damaged or not the published one, or an argument is
      wrong.
  """
  if path:
    if tfds_split:
      raise ValueError(
        f"{tfds_split!r} is a split of a set that TFDS prepared, but {path} has"
        " the four idx files, whose splits are fixed: leave one of them out"
      )
    return _open_files(pathlib.Path(path).expanduser(), split, tfds_name)
  if not tfds_name:
    raise ValueError(
      "source 'mnist' needs the path of a folder with the four idx files, or"
      " the tfds_name of a prepared set, such as 'mnist'"
    )
  from cinn_jax.data import tfds_images

  tfds_split = tfds_split or TFDS_SPLITS[split]
  try:
    return tfds_images.open_tfds(tfds_name, split, tfds_split=tfds_split)
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f"{error}. Or pass the folder of the four idx files:"
      " --config.data.path=FOLDER"
    ) from error


def _open_files(folder, split, data_set):
  names = FILES["test" if split == "test" else "train"]
  images = _read(folder, names[0], 3, data_set)
  labels = _read(folder, names[1], 1, data_set).astype(np.int32)
  if len(images) != len(labels):
    raise ValueError(
      f"{folder} has {len(images)} pictures in {names[0]} but {len(labels)}"
      f" labels in {names[1]}: these files do not belong together"
    )
  part = _part(split, len(images))
  title = data_set if data_set in CHECKSUMS else "unchecked files"
  name = f"{title} in {folder} ({split}: {len(images[part])} pictures)"
  return LabelledPictures(name, images[part], labels[part])


def _part(split, count):
  if split == "test":
    return slice(None)
  if count <= VALIDATION:
    raise ValueError(
      f"there are {count} training pictures, expected more than the"
      f" {VALIDATION} for validation"
    )
  return slice(VALIDATION) if split == "validation" else slice(VALIDATION, None)


def _read(folder, name, rank, data_set):
  """Returns the values of an idx file, uint8 with `rank` axes."""
  path = _find(folder, name, packed=data_set in _PACKED)
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
  if data_set in CHECKSUMS:
    if data_set in _PACKED and path.suffix != ".gz":
      raise ValueError(
        f"{path} is unpacked, and of {data_set} only the published archives can"
        f" be checked: put {name}.gz next to it, or leave"
        " --config.data.tfds_name empty to skip the check"
      )
    expected = CHECKSUMS[data_set][_NAMES.index(name)]
    actual = [hashlib.sha256(part).hexdigest() for part in (data, stored)]
    if expected not in actual:
      raise ValueError(
        f"{path} is not the published file of {data_set} (SHA-256"
        f" {actual[0]}): download it again, or name the set with"
        f" --config.data.tfds_name={' or '.join(CHECKSUMS)}, or leave that name"
        " empty to skip the check"
      )
  return values


def _find(folder, name, *, packed):
  """Returns the path of a file; the archive if only that can be checked."""
  plain, archive = folder / name, folder / f"{name}.gz"
  for path in (archive, plain) if packed else (plain, archive):
    if path.is_file():
      return path
  raise FileNotFoundError(
    f"there is no {name} or {name}.gz in {folder}: the four files"
    f" {', '.join(_NAMES)} are needed"
  )


def _parse(path, data, rank):
  magic, *shape = (
    int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(1 + rank)
  )
  if magic != _MAGIC[rank]:
    raise ValueError(
      f"{path} begins with {magic}, expected {_MAGIC[rank]}: it is not an idx"
      f" file of {'pictures' if rank == 3 else 'labels'}"
    )
  count = max(len(data) - 4 * (1 + rank), 0)
  if count != math.prod(shape) or not count:
    raise ValueError(
      f"{path} should have {math.prod(shape)} values"
      f" ({'x'.join(map(str, shape))}), but has {count}: download it again"
    )
  values = np.frombuffer(data, np.uint8, offset=4 * (1 + rank))
  return values.reshape(shape)
