"""The one interface of everything that pictures come from."""

import os
from typing import Any, Protocol

SOURCES = ("photos", "folder", "tfds")
SPLITS = ("train", "validation")


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
      "image": uint8 [H, W, 3], sRGB; H and W vary. Whatever else there is, such
      as an integer "label", is of one shape throughout.

    Raises:
      UnreadableImage: the record is damaged; others may be sound.
    """


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
) -> Source:
  """Opens a split of a source, prepared and known to hold at least one picture.

  Args:
    name: "photos" (patches of photographs that the dependencies ship), "folder"
      (any folder of pictures) or "tfds" (a prepared TFDS data set).
    split: "train" or "validation".
    path: the folder of "folder"; the data directory of "tfds", by default
      $TFDS_DATA_DIR or ~/tensorflow_datasets.
    tfds_name: for "tfds", such as "cifar10" or "imagenet_resized/64x64".
    cache: where "folder" keeps what it prepares; see `folder.open_folder`.
    validation_fraction: share of a folder's files held out, in (0, 1).
    max_short_side: a folder's pictures are stored no larger, in pixels.
    train_split: TFDS split to train on, such as "train[:95%]".
    validation_split: TFDS split to validate on.

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
  # Imported here because each needs other libraries, some slow to import.
  if name == "photos":
    if path:
      raise ValueError(
        f"source 'photos' takes no path, got {os.fspath(path)!r}: did you mean"
        " source 'folder'?"
      )
    from cinn_jax.data import photos

    return photos.open_photos(split)
  if name == "folder":
    from cinn_jax.data import folder

    return folder.open_folder(
      path,
      split,
      cache=cache,
      validation_fraction=validation_fraction,
      max_short_side=max_short_side,
    )
  from cinn_jax.data import tfds_images

  chosen = train_split if split == "train" else validation_split
  return tfds_images.open_tfds(tfds_name, split, data_dir=path, chosen=chosen)


def _list(names):
  return ", ".join(repr(name) for name in names)
