"""Prepares a TFDS data set so that it can be read without TensorFlow.

  python -m cinn_jax.data.prepare_tfds --name=cifar10

It needs the extra `tensorflow`, but training then does not. A data set that is
already there as tfrecord, TFDS's default format, is converted in its place.
"""

import importlib.util
import pathlib

import tensorflow_datasets as tfds
import tqdm
from absl import flags

from cinn_jax import cli
from cinn_jax.data import tfds_images
from cinn_jax.data.folder import shards
from cinn_jax.runtime import extras

flags.declare_key_flag("debug")
_NAME = flags.DEFINE_string("name", None, "The data set, such as cifar10.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir",
  "",
  "TFDS's data directory (default: $TFDS_DATA_DIR or ~/tensorflow_datasets).",
)
_MANUAL_DIR = flags.DEFINE_string(
  "manual_dir", None, "The folder of archives that you downloaded yourself."
)


def prepare(
  name: str, root: pathlib.Path, manual_dir: str | None = None
) -> pathlib.Path:
  """Prepares a TFDS data set, unless that is already done.

  Args:
    name: Such as "cifar10" or "imagenet_resized/64x64".
    root: TFDS's data directory.
    manual_dir: Folder of archives that TFDS cannot download by itself.

  Returns:
    The directory of the prepared data set.

  Raises:
    RuntimeError: TensorFlow is not installed.
    ValueError: TFDS does not know the data set or cannot prepare it, or several
      configurations are prepared and `name` has none.
  """
  if importlib.util.find_spec("tensorflow") is None:
    raise RuntimeError(
      "Preparing a TFDS data set needs TensorFlow, once:"
      f" {extras.how_to_get('tensorflow')}"
    )
  directory = tfds_images.find_prepared(name, root)
  if directory is None:
    return _download(name, root, manual_dir)
  if not tfds_images.is_readable(directory):
    convert(directory)
  return directory


def convert(directory: pathlib.Path) -> None:
  """Adds array_record files to a data set that is prepared as tfrecord.

  The records are the same bytes. The data set lists the new format only when
  all of its files are complete, so an interrupted conversion starts again.
  """
  import tensorflow as tf

  info = tfds.builder_from_directory(directory).info
  for split in info.splits.values():
    template = split.filename_template
    new_template = template.replace(filetype_suffix="array_record")
    pairs = zip(
      template.sharded_filepaths(split.num_shards),
      new_template.sharded_filepaths(split.num_shards),
      strict=True,
    )
    for old, new in tqdm.tqdm(
      list(pairs), desc=f"Converting {split.name}", unit=" files"
    ):
      records = tf.data.TFRecordDataset(str(old)).as_numpy_iterator()
      shards.write_records(pathlib.Path(new), records)
  info.add_alternative_file_format("array_record")
  info.write_dataset_info_json(directory)


def _download(name, root, manual_dir):
  try:
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir, try_download_gcs=False
      )
    )
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(
      f"TFDS {tfds.__version__} knows no data set {name!r}"
    ) from error
  # TFDS asserts that versions and archives exist, and its downloads fail with
  # errors of no common kind.
  except Exception as error:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    raise ValueError(
      f"TFDS cannot prepare {name!r} ({reason}): check its name, version and"
      " terms; --manual_dir=FOLDER is for archives that you downloaded."
    ) from error
  return builder.data_path


def _run():
  root = tfds_images.data_directory(_DATA_DIR.value)
  directory = prepare(_NAME.value, root, _MANUAL_DIR.value)
  print(f"{_NAME.value} is prepared in {directory}")


if __name__ == "__main__":
  cli.run(_run, required=["name"])
