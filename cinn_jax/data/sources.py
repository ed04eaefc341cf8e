"""Opens what pictures come from, by the names that configs have for it."""

import os
from collections.abc import Sequence

from cinn_jax.data.base import Source

SOURCES = (
  *("photos", "digits", "folder", "paired", "mnist", "tfds"),
  *("color_digits", "color_mnist"),
)
SPLITS = ("train", "validation", "test")
# What train_split and the like are, where a picture could be in two of them.
_PARTS = {
  **dict.fromkeys(("folder", "paired"), "the names of subfolders"),
  **dict.fromkeys(("mnist", "color_mnist"), "TFDS splits"),
}


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
  crop: Sequence[int] = (),
  resize: Sequence[int] = (),
) -> Source:
  """Opens a split of a source, prepared and known to hold at least one picture.

  Args:
    name: "photos" (patches of photographs that the dependencies ship), "digits"
      (scikit-learn's), "folder" (any folder of pictures), "paired" (a folder of
      files with a condition beside its picture; see `derived.SideBySide`),
      "mnist" (its four files, or those of a set in its format), "tfds" (a
      prepared TFDS data set), or "color_digits" and "color_mnist" (these two
      with colours that depend on the digit; see `color_mnist.ColoredDigits`).
    split: "train", "validation" or "test". Photos and folders hold out one part
      only, which is both of the latter.
    path: the folder of "folder", "paired", "mnist" and "color_mnist"; the data
      directory of "tfds", by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    tfds_name: for "tfds", such as "cifar10" or "imagenet_resized/64x64"; for
      "mnist", which set it is: see `mnist.open_mnist`.
    cache: where "folder" keeps what it prepares; see `folder.open_folder`.
    validation_fraction: share of a folder's files held out, in (0, 1).
    max_short_side: a folder's pictures are stored no larger, in pixels.
    train_split: TFDS split to train on, such as "train[:95%]"; for "folder" and
      "paired" the subfolder to train on, all of it. Except for "tfds" it needs
      a validation_split as well.
    validation_split: TFDS split, or subfolder, to validate on.
    test_split: TFDS split, or subfolder, to test on; by default the one to
      validate on, if that was chosen, or else "test".
    crop, resize: what is done to every picture before all else; see
      `derived.Preprocessed`.

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
  _check_disjoint(name, train_split, validation_split, test_split)
  source = _open(
    *(name, split, chosen),
    path=path,
    tfds_name=tfds_name,
    cache=cache,
    validation_fraction=validation_fraction,
    max_short_side=max_short_side,
  )
  if not crop and not resize:
    return source
  from cinn_jax.data import derived

  return derived.Preprocessed(source, tuple(crop), tuple(resize))


def _check_disjoint(name, train, validation, test):
  """Refuses what is held out where it is part of the default for training."""
  if name in _PARTS and bool(train) != bool(validation):
    raise ValueError(
      f"source {name!r} takes {_PARTS[name]} as train_split and"
      f" validation_split, both or none; got {train!r} and {validation!r}"
    )
  # A folder's default is all of it; that of TFDS is its split "train".
  in_folder = name in ("folder", "paired")
  for held in (validation, test):
    if held and not train and (in_folder or "train" in held):
      raise ValueError(
        f"pictures of {held!r} would be trained on too: choose a train_split"
        " and a validation_split beside it"
      )


def _open(name, split, chosen, *, path, tfds_name, **folder_options):
  """Imports are here because each needs other libraries, some slow to import.

  `chosen` is the split's own name in the source, or empty.
  """
  if name.startswith("color_"):
    from cinn_jax.data import color_mnist

    digits = _open(
      *(name.removeprefix("color_"), split, chosen),
      path=path,
      tfds_name=tfds_name,
      **folder_options,
    )
    return color_mnist.ColoredDigits(digits, split)
  if name in ("photos", "digits"):
    return _open_shipped(name, split, path)
  if name in ("folder", "paired"):
    from cinn_jax.data import derived
    from cinn_jax.data.folder import source

    pictures = source.open_folder(
      os.path.join(path, chosen),
      "all" if chosen else "train" if split == "train" else "validation",
      pairs=name == "paired",
      **folder_options,
    )
    return derived.SideBySide(pictures) if name == "paired" else pictures
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
