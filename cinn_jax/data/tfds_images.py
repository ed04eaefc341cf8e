"""Prepared TFDS image data sets, read without TensorFlow or a network.

Data sets are looked up on the disk. Constructing the TFDS builder of a data set
that is not there would keep asking a server for minutes.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cinn_jax.data import base
from cinn_jax.images import reading
from cinn_jax.runtime import extras

_RANDOM_ACCESS = (
  tfds.core.FileFormat.ARRAY_RECORD,
  tfds.core.FileFormat.PARQUET,
)


@dataclasses.dataclass(frozen=True)
class TfdsSource:
  """A split of a prepared TFDS data set.

  `self[i]` has an "image", uint8 [H, W, 3], and an int32 "label" if the data
  set has integer labels.

  Attributes:
    name: Name of the data set and the split.
    records: TFDS's data source of the split.
    image_key: Name of the picture feature.
    label_key: Name of the label feature, if any.
    listing_hash: A hash of the data set's version, the split's name, and the
      numbers of records and bytes in each of the data set's splits.
  """

  name: str
  records: Any
  image_key: str
  label_key: str | None
  listing_hash: str

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    if not 0 <= index < len(self):
      raise IndexError(index)
    name = f"{self.name}[{index}]"
    try:
      record = self.records[index]
    except RuntimeError as error:  # A damaged shard.
      raise reading.UnreadableImage(name, str(error).splitlines()[0]) from error
    with reading.reasons(name):
      result: dict[str, Any] = {"image": reading.decode(record[self.image_key])}
    if self.label_key is not None:
      result["label"] = np.int32(record[self.label_key])
    return result


def open_tfds(
  name: str,
  split: str,
  *,
  data_dir: str | os.PathLike = "",
  tfds_split: str = "",
) -> TfdsSource:
  """Opens a split of a prepared TFDS data set.

  Pictures that are not RGB are converted as in `reading.decode`; a grey one
  gets three equal channels.

  Args:
    name: Such as "mnist", "imagenet_resized/64x64" or "mnist:3.0.1".
    split: "train", "validation" or "test". If a data set has only one of the
      latter two, it is used for both.
    data_dir: TFDS's data directory; by default $TFDS_DATA_DIR or
      ~/tensorflow_datasets.
    tfds_split: A TFDS split or slice, such as "train[95%:]", to open in place
      of the default one.

  Raises:
    FileNotFoundError: The set is not prepared. The message has the command that
      prepares it.
    ValueError: The split is unknown or has no pictures, or only TensorFlow can
      read the set.
  """
  if not name:
    raise ValueError("source 'tfds' needs a tfds_name, such as 'cifar10'")
  root = data_directory(data_dir)
  directory = find_prepared(name, root)
  if directory is None:
    raise FileNotFoundError(
      f"TFDS data set {name!r} is not prepared in {root}. To do that:"
      f" {preparing_command(name, data_dir)}"
    )
  if not is_readable(directory):
    raise ValueError(
      f"TFDS data set {name!r} is prepared in {directory} in a format that only"
      f" TensorFlow reads. To convert it: {preparing_command(name, data_dir)}"
    )
  builder = tfds.builder_from_directory(directory)
  tfds_split = tfds_split or _default_split(
    name, split, list(builder.info.splits)
  )
  image_key, label_key = _keys(name, builder.info.features)
  try:
    # Our own decoder handles grey, CMYK and 16 bits, so it gets the raw bytes.
    records = builder.as_data_source(
      tfds_split, decoders={image_key: tfds.decode.SkipDecoding()}
    )
  except ValueError as error:
    splits = ", ".join(builder.info.splits)
    raise ValueError(
      f"TFDS data set {name!r} has no images in split {tfds_split!r}: it has"
      f" {splits}, and slices such as 'train[:95%]'"
    ) from error
  return TfdsSource(
    name=f"tfds {name} ({tfds_split}: {len(records)} images)",
    records=records,
    image_key=image_key,
    label_key=label_key,
    listing_hash=_listing_hash(builder.info, tfds_split),
  )


def _listing_hash(info, tfds_split):
  splits = (
    f"{split.name} {split.num_examples} {split.num_bytes}"
    for split in info.splits.values()
  )
  return base.hash_parts([info.full_name, f"[{tfds_split}]", *splits])


def data_directory(data_dir: str | os.PathLike = "") -> pathlib.Path:
  """Returns `data_dir`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  directory = data_dir or os.environ.get("TFDS_DATA_DIR")
  return pathlib.Path(directory or "~/tensorflow_datasets").expanduser()


def find_prepared(name: str, root: pathlib.Path) -> pathlib.Path | None:
  """Returns the directory of a data set's newest prepared version, if any.

  Raises:
    ValueError: Several configurations are prepared, and `name` has none.
  """
  path, _, version = name.partition(":")
  if versions := _versions(root / path, version):
    return versions[-1]
  configured = {
    f"{path}/{child.name}": versions[-1]
    for child in sorted((root / path).glob("*"))
    if (versions := _versions(child, version))
  }
  if len(configured) > 1:
    raise ValueError(
      f"TFDS data set {name!r} is prepared in several configurations: name one"
      f" of {', '.join(configured)}"
    )
  return next(iter(configured.values()), None)


def is_readable(directory: pathlib.Path) -> bool:
  """Returns true if a prepared data set can be read without TensorFlow."""
  formats = tfds.builder_from_directory(directory).info.available_file_formats()
  return any(kind in formats for kind in _RANDOM_ACCESS)


def preparing_command(name: str, data_dir: str | os.PathLike = "") -> str:
  """Returns the command that prepares a data set, for error messages."""
  option = f" --data_dir={os.fspath(data_dir)}" if data_dir else ""
  return (
    f"python -m cinn_jax.data.prepare_tfds --name={name}{option} (once, with"
    f" the extra: {extras.how_to_get('tensorflow')})"
  )


def _versions(directory, version):
  """Returns the prepared versions in a directory, ascending."""
  versions = [
    child
    for child in directory.glob("*")
    if tfds.core.Version.is_valid(child.name)
    and (child / "dataset_info.json").exists()
    and version in ("", child.name)
  ]
  return sorted(versions, key=lambda child: tfds.core.Version(child.name))


def _default_split(name, split, splits):
  candidates = {
    "train": ("train",),
    "validation": ("validation", "test"),
    "test": ("test", "validation"),
  }[split]
  for candidate in candidates:
    if candidate in splits:
      return candidate
  raise ValueError(
    f"TFDS data set {name!r} has no split {' or '.join(candidates)}, only"
    f" {', '.join(splits)}: choose train_split and validation_split, such as"
    " 'train[:95%]' and 'train[95%:]'"
  )


def _keys(name, features):
  """Returns the names of a record's picture and label; None for no label."""
  has_names = isinstance(features, tfds.features.FeaturesDict)
  features = dict(features.items()) if has_names else {}
  pictures = [
    key
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Image)
    and feature.np_dtype in (np.uint8, np.uint16)
  ]
  if "image" not in pictures and len(pictures) != 1:
    raise ValueError(
      f"TFDS data set {name!r} has no single picture feature: it has"
      f" {', '.join(features) or 'no named features'}"
    )
  label = features.get("label")
  is_scalar = isinstance(label, tfds.features.Tensor) and label.shape == ()
  is_integer = is_scalar and np.issubdtype(label.np_dtype, np.integer)
  picture = "image" if "image" in pictures else pictures[0]
  return picture, "label" if is_integer else None
