"""Opens any source of pictures by the name that configs use."""

import os
from collections.abc import Sequence
from typing import Any

from cinn_jax.data import base
from cinn_jax.data.base import Source

SOURCES = (
  "photos",
  "digits",
  "folder",
  "paired",
  "mnist",
  "tfds",
  "color_digits",
  "color_mnist",
  "views",
)
SPLITS = ("train", "validation", "test")
# The meaning of train_split etc. in sources whose splits have to be chosen
# together, because a picture could otherwise be in two of them.
_SPLIT_KINDS = {
  **dict.fromkeys(("folder", "paired"), "the names of subfolders"),
  **dict.fromkeys(("mnist", "color_mnist"), "TFDS splits"),
}


# Sources whose splits cannot be chosen.
_FIXED = ("photos", "digits", "color_digits", "views")


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
  """Opens a split of a source, and prepares it if necessary.

  Args:
    name: Name of the source:
      "photos": patches of photographs that the dependencies ship.
      "digits": scikit-learn's digits.
      "folder": any folder of pictures.
      "paired": a folder of pictures with their conditions in the same files,
        see `derived.SideBySide`.
      "mnist": the four files of MNIST, or of a set in its format.
      "tfds": a prepared TFDS data set.
      "color_digits", "color_mnist": "digits" and "mnist" in colours that depend
        on the digit, see `color_mnist.ColoredDigits`.
      "views": crops of photographs with their features, see `views`.
    split: "train", "validation" or "test". The photographs and folders have
      only one held-out part, which is used for both of the latter.
    path: The folder of "folder", "paired", "mnist", "color_mnist" and "views".
      For "tfds" the data directory, by default $TFDS_DATA_DIR or
      ~/tensorflow_datasets.
    tfds_name: For "tfds" the name of the data set, such as "cifar10" or
      "imagenet_resized/64x64". For "mnist" see `mnist.open_mnist`.
    cache: Directory for prepared folders; see `folder.source.open_folder`.
    validation_fraction: Fraction of a folder's files held out, in (0, 1).
    max_short_side: Largest short side, in pixels, of a folder's pictures;
      larger ones are scaled down.
    train_split: TFDS split to train on, such as "train[:95%]"; for "folder" and
      "paired" a subfolder to train on. Except for "tfds" it needs a
      `validation_split` as well.
    validation_split: TFDS split, or subfolder, to validate on.
    test_split: TFDS split, or subfolder, to test on. The default is
      `validation_split` if there is one, otherwise "test".
    crop: Pixels to cut off from every picture, after `max_short_side`; see
      `derived.Preprocessed`.
    resize: (H, W) of every picture afterwards; see `derived.Preprocessed`.

  Returns:
    The source, which has at least one picture.

  Raises:
    ValueError, FileNotFoundError: One line that says what is wrong and what to
      do.
  """
  if name not in SOURCES:
    raise ValueError(
      f"unknown source {name!r}, expected one of {_list(SOURCES)}"
    )
  if split not in SPLITS:
    raise ValueError(
      f"unknown split {split!r}, expected one of {_list(SPLITS)}"
    )
  native_split = {
    "train": train_split,
    "validation": validation_split,
    "test": test_split or validation_split,
  }[split]
  _check_disjoint(name, train_split, validation_split, test_split)
  source = _open(
    name,
    split,
    native_split,
    path=path,
    tfds_name=tfds_name,
    cache=cache,
    validation_fraction=validation_fraction,
    max_short_side=max_short_side,
  )
  if not crop and not resize:
    return source
  if base.is_cut(source):
    raise ValueError(
      f"The pictures of {name} are cut already: leave out data.crop and"
      " data.resize."
    )
  from cinn_jax.data import derived

  return derived.Preprocessed(source, tuple(crop), tuple(resize))


def _check_disjoint(name, train, validation, test):
  """Raises ValueError if held-out pictures would be trained on by default.

  Sources with splits of their own take no names of splits at all.
  """
  if name in _FIXED and (given := train or validation or test):
    raise ValueError(
      f"source {name!r} has its own splits, got {given!r}: leave out"
      " data.train_split, data.validation_split and data.test_split"
    )
  if name in _SPLIT_KINDS and bool(train) != bool(validation):
    raise ValueError(
      f"source {name!r} takes {_SPLIT_KINDS[name]} as train_split and"
      f" validation_split, both or none; got {train!r} and {validation!r}"
    )
  # By default a folder trains on all of its files, and TFDS on "train".
  in_folder = name in ("folder", "paired")
  for held in (validation, test):
    if held and not train and (in_folder or "train" in held):
      raise ValueError(
        f"pictures of {held!r} would be trained on too: choose both a"
        " train_split and a validation_split (to test on other pictures than"
        " those of the training, any names)"
      )


def _open(
  name: str,
  split: str,
  native_split: str,
  *,
  path: str | os.PathLike,
  tfds_name: str,
  **folder_options: Any,
) -> Source:
  """Opens a split; `native_split` is its name in the source, or empty.

  Each source is imported here, when it is opened, because some of them need
  libraries that are slow to import.
  """
  if name.startswith("color_"):
    from cinn_jax.data import color_mnist

    digits = _open(
      name.removeprefix("color_"),
      split,
      native_split,
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
      os.path.join(path, native_split),
      "all" if native_split else "train" if split == "train" else "validation",
      pairs=name == "paired",
      **folder_options,
    )
    return derived.SideBySide(pictures) if name == "paired" else pictures
  if name == "views":
    from cinn_jax.data import views

    return views.Views(os.fspath(path), split)
  if name == "mnist":
    from cinn_jax.data import mnist

    return mnist.open_mnist(
      path, split, tfds_name=tfds_name, tfds_split=native_split
    )
  from cinn_jax.data import tfds_images

  return tfds_images.open_tfds(
    tfds_name, split, data_dir=path, tfds_split=native_split
  )


def _open_shipped(name, split, path):
  """Opens a source that comes with the dependencies, so that it has no path."""
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
