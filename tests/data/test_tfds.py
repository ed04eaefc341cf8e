"""Tests of TFDS data sets, and of messages about those not prepared for us."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cinn_jax.data import prepare_tfds, sources, tfds_images
from cinn_jax.images import reading
from tests.support.tfds_sets import ColorPhotos, GreyDigits, Sounds, grey


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  place = tmp_path_factory.mktemp("tfds")
  for builder in (GreyDigits, ColorPhotos, Sounds):
    builder(data_dir=place, file_format="array_record").download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
  return place


def open_tfds(data_dir, name, split="train", **options):
  return sources.open_source(
    "tfds", split, path=data_dir, tfds_name=name, **options
  )


def error_message(kind, *args, **options) -> str:
  with pytest.raises(kind) as caught:
    open_tfds(*args, **options)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_grey_becomes_rgb_and_keeps_its_labels(data_dir):
  train = open_tfds(data_dir, "grey_digits")
  assert len(train) == 20 and "grey_digits" in train.name
  truth = {np.stack([grey(i)] * 3, -1).tobytes(): i % 10 for i in range(20)}
  for record in train:
    assert record.keys() == {"image", "label"}
    assert record["image"].dtype == np.uint8
    assert record["label"].dtype == np.int32 and record["label"].shape == ()
    assert truth[record["image"].tobytes()] == record["label"]


def test_pictures_of_other_names_and_sizes(data_dir):
  train = open_tfds(data_dir, "color_photos:1.2.0")
  assert train[0].keys() == {"image"}
  heights = sorted(record["image"].shape[0] for record in train)
  assert heights == list(range(10, 30))


def test_splits(data_dir):
  assert len(open_tfds(data_dir, "grey_digits", "validation")) == 5
  cut = {"train_split": "train[:75%]", "validation_split": "train[75%:]"}
  train = open_tfds(data_dir, "grey_digits", **cut)
  validation = open_tfds(data_dir, "grey_digits", "validation", **cut)
  test = open_tfds(data_dir, "grey_digits", "test", **cut)
  assert "train[75%:]" in validation.name and validation.name == test.name
  assert (len(train), len(validation)) == (15, 5)
  pixels = {r["image"].tobytes() for s in (train, validation) for r in s}
  assert len(pixels) == 20
  assert len(open_tfds(data_dir, "grey_digits", "test")) == 5
  cut["test_split"] = "train[:3]"
  assert len(open_tfds(data_dir, "grey_digits", "test", **cut)) == 3
  message = error_message(ValueError, data_dir, "color_photos", "test")
  assert "no split test or validation" in message
  message = error_message(ValueError, data_dir, "color_photos", "validation")
  assert "no split validation or test" in message and "train[95%:]" in message
  message = error_message(
    ValueError, data_dir, "grey_digits", train_split="trian"
  )
  assert "no images in split 'trian': it has train, test" in message
  for wrong in ("train[:200%]", "train[20:]", "train[:0]"):
    error_message(ValueError, data_dir, "grey_digits", train_split=wrong)


def test_missing_set_raises_with_the_command(data_dir, monkeypatch, tmp_path):
  command = "python -m cinn_jax.data.prepare_tfds --name=cifar10"
  asked = []
  # TFDS's builder of a set that is not there asks a server, for minutes.
  monkeypatch.setattr(tfds, "builder", lambda *args, **_: asked.append(args))
  message = error_message(FileNotFoundError, data_dir, "cifar10")
  assert f"{command} --data_dir={data_dir}" in message
  assert "pip install -e '.[tensorflow]'" in message
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "env"))
  message = error_message(FileNotFoundError, "", "cifar10")
  assert f"{command} (" in message and str(tmp_path / "env") in message
  message = error_message(FileNotFoundError, data_dir, "grey_digits:9.9.9")
  assert "--name=grey_digits:9.9.9" in message
  assert "needs a tfds_name" in error_message(ValueError, data_dir, "")
  assert not asked


def test_incomplete_set_is_not_prepared(data_dir, tmp_path):
  half = tmp_path / "grey_digits" / "incomplete.ABC_1.2.0"
  half.mkdir(parents=True)
  (half / "dataset_info.json").write_text("{}")
  assert tfds_images.find_prepared("grey_digits", tmp_path) is None


def copy(data_dir, place, name, config=""):
  """Copies a prepared data set, as a configuration if `config` is given."""
  old, new = data_dir / name / "1.2.0", place / name / config / "1.2.0"
  new.mkdir(parents=True)
  for file in old.iterdir():
    (new / file.name).write_bytes(file.read_bytes())
  return new


def test_tfrecord_raises_with_the_command(data_dir, tmp_path):
  directory = copy(data_dir, tmp_path, "grey_digits")
  info = directory / "dataset_info.json"
  content = json.loads(info.read_text()) | {"fileFormat": "tfrecord"}
  info.write_text(json.dumps(content))
  message = error_message(ValueError, tmp_path, "grey_digits")
  assert "only TensorFlow reads" in message
  assert f"--name=grey_digits --data_dir={tmp_path}" in message


def test_configurations(data_dir, tmp_path):
  copy(data_dir, tmp_path, "grey_digits", "big")
  assert len(open_tfds(tmp_path, "grey_digits/big")) == 20
  assert len(open_tfds(tmp_path, "grey_digits")) == 20
  copy(data_dir, tmp_path, "grey_digits", "small")
  message = error_message(ValueError, tmp_path, "grey_digits")
  assert "one of grey_digits/big, grey_digits/small" in message


def test_the_newest_version_is_read(data_dir, tmp_path):
  directory = copy(data_dir, tmp_path, "grey_digits")
  for version in ("1.10.0", "1.9.0"):
    newer = directory.with_name(version)
    newer.mkdir()
    (newer / "dataset_info.json").write_text("{}")
  newest = tfds_images.find_prepared("grey_digits", tmp_path)
  assert newest.name == "1.10.0"
  exact = tfds_images.find_prepared("grey_digits:1.2.0", tmp_path)
  assert exact.name == "1.2.0"


def test_set_without_pictures_raises(data_dir):
  message = error_message(ValueError, data_dir, "sounds")
  assert "no single picture feature: it has sound" in message


def test_damaged_record_raises_one_line(data_dir, tmp_path):
  directory = copy(data_dir, tmp_path, "color_photos")
  (file,) = directory.glob("*array_record*")
  damaged = bytearray(file.read_bytes())
  damaged[damaged.index(b"IDAT") + 8] ^= 255
  file.write_bytes(damaged)
  train = open_tfds(tmp_path, "color_photos")
  with pytest.raises(
    reading.UnreadableImage, match="tfds color_photos"
  ) as caught:
    [train[i] for i in range(len(train))]
  assert "\n" not in str(caught.value)


NO_TENSORFLOW = """
import socket, sys
def refuse(*args, **kwargs):
  raise AssertionError("network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from cinn_jax.data import sources
source = sources.open_source(
  "tfds", "train", path=sys.argv[1], tfds_name="grey_digits")
assert source[0]["image"].shape == (24, 36, 3)
try:
  sources.open_source("tfds", "train", path=sys.argv[1], tfds_name="mnist")
except FileNotFoundError:
  pass
assert not [name for name in sys.modules if name.startswith("tensorflow.")]
assert "tensorflow" not in sys.modules
"""


def test_reading_needs_neither_tensorflow_nor_network(data_dir):
  subprocess.run(
    [sys.executable, "-c", NO_TENSORFLOW, str(data_dir)], check=True
  )


def test_prepare_without_tensorflow_raises(monkeypatch, tmp_path):
  find = prepare_tfds.importlib.util.find_spec
  monkeypatch.setattr(
    prepare_tfds.importlib.util,
    "find_spec",
    lambda name: None if name == "tensorflow" else find(name),
  )
  with pytest.raises(RuntimeError, match=r"pip install -e '\.\[tensorflow\]'"):
    prepare_tfds.prepare("mnist", tmp_path)


@pytest.mark.parametrize("kind", [AssertionError, OSError, KeyError])
def test_what_tfds_cannot_prepare_makes_one_line(monkeypatch, tmp_path, kind):
  def builder(*args, **options):
    raise kind("Manual directory nowhere is empty.\nMore words.")

  monkeypatch.setattr(
    prepare_tfds.importlib.util, "find_spec", lambda name: name
  )
  monkeypatch.setattr(tfds, "builder", builder)
  with pytest.raises(
    ValueError, match=r"nowhere is empty.*--manual_dir=FOLDER"
  ):
    prepare_tfds.prepare("imagenet2012", tmp_path)


def test_tfrecord_is_converted_in_its_place(tmp_path):
  pytest.importorskip("tensorflow")
  builder = GreyDigits(data_dir=tmp_path, file_format="tfrecord")
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(try_download_gcs=False)
  )
  error_message(ValueError, tmp_path, "grey_digits")
  prepare_tfds.prepare("grey_digits", tmp_path)
  assert len(open_tfds(tmp_path, "grey_digits")) == 20
  assert len(open_tfds(tmp_path, "grey_digits", "validation")) == 5
