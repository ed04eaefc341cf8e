"""Prepares a TFDS data set so that it can be read without TensorFlow.

  python -m cinn_jax.data.prepare_tfds --name=cifar10

It needs the extra `tensorflow`; training then does not. A data set that is
already there as tfrecord, the default of TFDS, is converted where it is.
"""

import argparse
import importlib.util
import pathlib
import sys

import tensorflow_datasets as tfds
import tqdm

from cinn_jax.data import tfds_images
from cinn_jax.data.folder import shards


def main(arguments: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--name", required=True, help="such as cifar10")
  parser.add_argument(
    "--data_dir", default="", help="default: ~/tensorflow_datasets"
  )
  parser.add_argument(
    "--manual_dir", help="holds archives that you downloaded yourself"
  )
  flags = parser.parse_args(arguments)
  if importlib.util.find_spec("tensorflow") is None:
    sys.exit(
      "Preparing a TFDS data set needs TensorFlow, once: pip install -e"
      " '.[tensorflow]'"
    )
  root = tfds_images.data_directory(flags.data_dir)
  try:
    directory = tfds_images.find_prepared(flags.name, root)
  except ValueError as error:
    sys.exit(f"Error: {error}")
  if directory is None:
    directory = _prepare(flags.name, root, flags.manual_dir)
  elif not tfds_images.is_readable(directory):
    convert(directory)
  print(f"{flags.name} is prepared in {directory}")


def _prepare(name, root, manual_dir):
  try:
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
  except tfds.core.DatasetNotFoundError:
    sys.exit(f"TFDS {tfds.__version__} knows no data set {name!r}.")
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=manual_dir, try_download_gcs=False
    )
  )
  return builder.data_path


def convert(directory: pathlib.Path) -> None:
  """Adds array_record files to a data set that is prepared as tfrecord.

  The records are the same bytes. The data set lists the new format only once
  all of its files are whole, so a conversion that was stopped starts again.
  """
  import tensorflow as tf

  info = tfds.builder_from_directory(directory).info
  for split in info.splits.values():
    template = split.filename_template
    wanted = template.replace(filetype_suffix="array_record")
    pairs = zip(
      template.sharded_filepaths(split.num_shards),
      wanted.sharded_filepaths(split.num_shards),
      strict=True,
    )
    for old, new in tqdm.tqdm(
      list(pairs), desc=f"Converting {split.name}", unit=" files"
    ):
      records = tf.data.TFRecordDataset(str(old)).as_numpy_iterator()
      shards.write_records(pathlib.Path(new), records)
  info.add_alternative_file_format("array_record")
  info.write_dataset_info_json(directory)


if __name__ == "__main__":
  main()
