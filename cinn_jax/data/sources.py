"""The one interface of everything that pictures come from."""

import dataclasses
import os
from typing import Any, Protocol

SOURCES = (
  *("photos", "digits", "folder", "mnist", "tfds"),
  *("color_digits", "color_mnist"),
)
SPLITS = ("train", "validation", "test")


class Source(Protocol):
  """A sequence of records, read in any order and from any thread.

  Attributes:
    name: a short description, for logs and messages.
  """

  name: str

  def __len__(self) -> int:
    """The number of records of this split, at least one."""

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Reads a record.

    Returns:
      "image": uint8 [H, W, 3], sRGB; H and W vary, and the channels of grey
      are equal. "grey", where there is one, is a second picture of that shape,
      cropped alike. Whatever else there is, such as an integer "label", is of
      one shape throughout.

    Raises:
      UnreadableImage: the record is damaged; others may be sound.
    """


@dataclasses.dataclass(frozen=True)
class Spread:
  """`count` records of a source, spread evenly over it."""

  source: Source
  count: int

  @property
  def name(self):
    return self.source.name

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    last = max(self.count - 1, 1)
    return self.source[round(index * (len(self.source) - 1) / last)]


def open_source(
  name: str,
  split: str,
  *,
  path: str | os.PathLike = "",
  tfds_name: str = "",
  cache: str | os.PathLike = "",
  validation_fraction: float = 0.05,
  max_short_side: int = 512,
  train_split: str = "",
  validation_split: str = "",
  test_split: str = "",
) -> Source:
  """Opens a split of a source, prepared and known to hold at least one picture.

  Args:
    name: "photos" (patches of photographs that the dependencies ship), "digits"
      (scikit-learn's), "folder" (any folder of pictures), "mnist" (its four
      files, or those of a set in its format), "tfds" (a prepared TFDS data
      set), or "color_digits" and "color_mnist" (these two with colours that
      depend on the digit; see `color_mnist.ColoredDigits`).
    split: "train", "validation" or "test". Photos and folders hold out one part
      only, which is both of the latter.
    path: the folder of "folder", "mnist" and "color_mnist"; the data directory
      of "tfds", by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    tfds_name: for "tfds", such as "cifar10" or "imagenet_resized/64x64"; for
      "mnist", which set it is: see `mnist.open_mnist`.
    cache: where "folder" keeps what it prepares; see `folder.open_folder`.
    validation_fraction: share of a folder's files held out, in (0, 1).
    max_short_side: a folder's pictures are stored no larger, in pixels.
    train_split: TFDS split to train on, such as "train[:95%]".
    validation_split: TFDS split to validate on.
    test_split: TFDS split to test on; by default the one to validate on, if
      that was chosen, or else "test".

  Raises:
    ValueError, FileNotFoundError: one line on what is wrong and what to do.
  """
  if name not in SOURCES:
    raise ValueError(
      f"unknown source {name!r}, expected one of {_list(SOURCES)}"
    )
  if split not in SPLITS:
    raise ValueError(
      f"unknown split {split!r}, expected one of {_list(SPLITS)}"
    )
  chosen = {
    "train": train_split,
    "validation": validation_split,
    "test": test_split or validation_split,
  }[split]
  # Imported here because each needs other libraries, some slow to import.
  if name.startswith("color_"):
    from cinn_jax.data import color_mnist

    digits = open_source(
      *(name.removeprefix("color_"), split),
      path=path,
      tfds_name=tfds_name,
      train_split=train_split,
      validation_split=validation_split,
      test_split=test_split,
    )
    return color_mnist.ColoredDigits(digits, split)
  if name in ("photos", "digits"):
    return _open_shipped(name, split, path)
  if name == "folder":
    from cinn_jax.data import folder

    return folder.open_folder(
      path,
      "train" if split == "train" else "validation",
      cache=cache,
      validation_fraction=validation_fraction,
      max_short_side=max_short_side,
    )
  if name == "mnist":
    from cinn_jax.data import mnist

    return mnist.open_mnist(path, split, tfds_name=tfds_name, chosen=chosen)
  from cinn_jax.data import tfds_images

  return tfds_images.open_tfds(tfds_name, split, data_dir=path, chosen=chosen)


def _open_shipped(name, split, path):
  """What comes with the dependencies and so has no path."""
  if path:
    raise ValueError(
      f"source {name!r} takes no path, got {os.fspath(path)!r}: did you mean"
      f" source {'folder' if name == 'photos' else 'mnist'!r}?"
    )
  if name == "digits":
    from cinn_jax.data import digits

    return digits.open_digits(split)
  from cinn_jax.data import photos

  return photos.open_photos("train" if split == "train" else "validation")


def _list(names):
  return ", ".join(repr(name) for name in names)
