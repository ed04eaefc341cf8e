"""Prepared TFDS image data sets, read without TensorFlow and without network.

Data sets are found by looking at the disk: constructing their TFDS builder
would ask a server about those that are not there, for minutes.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cinn_jax.data import base
from cinn_jax.images import reading

_RANDOM_ACCESS = (
  tfds.core.FileFormat.ARRAY_RECORD,
  tfds.core.FileFormat.PARQUET,
)


@dataclasses.dataclass(frozen=True)
class TfdsSource:
  """`self[i]` has an "image", uint8 [H, W, 3], and perhaps an int32 "label".

  `listing_hash` is of the data set's version, the split's name, and how many
  records and bytes each of the data set's splits has.
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
      result = {"image": reading.decode(record[self.image_key])}
    if self.label_key is not None:
      result["label"] = np.int32(record[self.label_key])
    return result


def open_tfds(
  name: str,
  split: str,
  *,
  data_dir: str | os.PathLike = "",
  chosen: str = "",
) -> TfdsSource:
  """Opens a split of a prepared TFDS data set.

  Pictures that are not RGB are converted as `images.decode` says: grey becomes
  three equal channels.

  Args:
    name: "mnist", "imagenet_resized/64x64" or "mnist:3.0.1".
    split: "train", "validation" or "test"; each of the latter two stands in
      for the other.
    data_dir: by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    chosen: a TFDS split that overrides, slices such as "train[95%:]" included.

  Raises:
    FileNotFoundError: not prepared; the message has the command to do it.
    ValueError: unknown split, no picture, or prepared for TensorFlow only.
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
  chosen = chosen or _default_split(name, split, list(builder.info.splits))
  image_key, label_key = _keys(name, builder.info.features)
  try:
    # Our own decoder sees the encoded bytes: it knows grey, CMYK and depth.
    records = builder.as_data_source(
      chosen, decoders={image_key: tfds.decode.SkipDecoding()}
    )
  except ValueError as error:
    splits = ", ".join(builder.info.splits)
    raise ValueError(
      f"TFDS data set {name!r} has no images in split {chosen!r}: it has"
      f" {splits}, and slices such as 'train[:95%]'"
    ) from error
  shown = f"tfds {name} ({chosen}: {len(records)} images)"
  return TfdsSource(
    shown, records, image_key, label_key, _listing_hash(builder.info, chosen)
  )


def _listing_hash(info, chosen):
  splits = (
    f"{split.name} {split.num_examples} {split.num_bytes}"
    for split in info.splits.values()
  )
  return base.hash_of([info.full_name, f"[{chosen}]", *splits])


def data_directory(data_dir: str | os.PathLike = "") -> pathlib.Path:
  """The given directory, or $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
  chosen = data_dir or os.environ.get("TFDS_DATA_DIR")
  return pathlib.Path(chosen or "~/tensorflow_datasets").expanduser()


def find_prepared(name: str, root: pathlib.Path) -> pathlib.Path | None:
  """The directory of the newest prepared version of a data set, if any.

  Raises:
    ValueError: the data set has several configurations and none was named.
  """
  path, _, wanted = name.partition(":")
  if versions := _versions(root / path, wanted):
    return versions[-1]
  configured = {
    f"{path}/{child.name}": found[-1]
    for child in sorted((root / path).glob("*"))
    if (found := _versions(child, wanted))
  }
  if len(configured) > 1:
    raise ValueError(
      f"TFDS data set {name!r} is prepared in several configurations: name one"
      f" of {', '.join(configured)}"
    )
  return next(iter(configured.values()), None)


def is_readable(directory: pathlib.Path) -> bool:
  """Whether a prepared data set can be read without TensorFlow."""
  formats = tfds.builder_from_directory(directory).info.available_file_formats()
  return any(kind in formats for kind in _RANDOM_ACCESS)


def preparing_command(name: str, data_dir: str | os.PathLike = "") -> str:
  """The one command that prepares a data set for us."""
  where = f" --data_dir={os.fspath(data_dir)}" if data_dir else ""
  return (
    f"python -m cinn_jax.data.prepare_tfds --name={name}{where} (once, with the"
    " extra: pip install -e '.[tensorflow]')"
  )


def _versions(directory, wanted):
  """Prepared versions below a directory, ascending."""
  found = [
    child
    for child in directory.glob("*")
    if tfds.core.Version.is_valid(child.name)
    and (child / "dataset_info.json").exists()
    and wanted in ("", child.name)
  ]
  return sorted(found, key=lambda child: tfds.core.Version(child.name))


def _default_split(name, split, existing):
  candidates = {
    "train": ("train",),
    "validation": ("validation", "test"),
    "test": ("test", "validation"),
  }[split]
  for candidate in candidates:
    if candidate in existing:
      return candidate
  raise ValueError(
    f"TFDS data set {name!r} has no split {' or '.join(candidates)}, only"
    f" {', '.join(existing)}: choose train_split and validation_split, such as"
    " 'train[:95%]' and 'train[95%:]'"
  )


def _keys(name, features):
  """Which of a record's features are the picture and the label."""
  named = isinstance(features, tfds.features.FeaturesDict)
  features = dict(features.items()) if named else {}
  pictures = [
    key
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Image)
    and feature.np_dtype in (np.uint8, np.uint16)
  ]
  if "image" not in pictures and len(pictures) != 1:
    raise ValueError(
      f"TFDS data set {name!r} has no single picture feature: it has"
      f" {', '.join(features) or 'none by name'}"
    )
  label = features.get("label")
  scalar = isinstance(label, tfds.features.Tensor) and label.shape == ()
  whole = scalar and np.issubdtype(label.np_dtype, np.integer)
  picture = "image" if "image" in pictures else pictures[0]
  return picture, "label" if whole else None
