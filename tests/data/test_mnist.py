"""Tests of MNIST's four files: splits, checksums, and damaged files."""

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.data import mnist, sources
from tests.support import mnist_files

TRAIN_IMAGES, TRAIN_LABELS = mnist.FILES["train"]
TEST_IMAGES, TEST_LABELS = mnist.FILES["test"]


@pytest.fixture
def folder(tmp_path):
  mnist_files.write(tmp_path)
  return tmp_path


def _open(folder, split="train", tfds_name=""):
  return sources.open_source("mnist", split, path=folder, tfds_name=tfds_name)


def _error_message(folder, split="train", kind=ValueError, **options):
  with pytest.raises(kind) as caught:
    _open(folder, split, **options)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_validation_is_the_first_1024_training_pictures(tmp_path, packed):
  content = mnist_files.write(tmp_path, packed=packed)
  parts = {
    "train": [values[1024:] for values in content["train"]],
    "validation": [values[:1024] for values in content["train"]],
    "test": content["test"],
  }
  for split, (images, labels) in parts.items():
    source = _open(tmp_path, split)
    assert len(source) == len(images) and f"({split}: " in source.name
    for k in (0, 5, len(source) - 1):
      record = source[k]
      assert record["image"].dtype == np.uint8
      np.testing.assert_array_equal(
        record["image"], np.stack([images[k]] * 3, -1)
      )
      assert record["label"] == labels[k]
      assert record["label"].dtype == np.int32
    for outside in (-1, len(source)):
      with pytest.raises(IndexError):
        source[outside]


def test_checksums_are_of_contents_or_archives(folder, monkeypatch):
  names = (*mnist.FILES["train"], *mnist.FILES["test"])
  paths = [folder / f"{name}.gz" for name in names]
  stored = [path.read_bytes() for path in paths]
  digests = [
    [hashlib.sha256(part).hexdigest() for part in parts]
    for parts in (stored, map(gzip.decompress, stored))
  ]
  for sums in digests:
    monkeypatch.setitem(mnist.CHECKSUMS, "mnist", tuple(sums))
    for split in sources.SPLITS:
      assert _open(folder, split, "mnist").name.startswith("mnist in ")
  # The format is right, but one value is wrong.
  data = bytearray(gzip.decompress(stored[0]))
  data[-1] ^= 1
  mnist_files.put(folder, TRAIN_IMAGES, bytes(data))
  message = _error_message(folder, tfds_name="mnist")
  assert f"{TRAIN_IMAGES}.gz is not the published file of mnist" in message
  assert hashlib.sha256(data).hexdigest() in message
  assert "--config.data.tfds_name" in message
  assert _open(folder, "test", "mnist").name.startswith("mnist in ")


def test_each_set_has_its_own_checksums(folder):
  for name in ("mnist", "fashion_mnist"):
    assert f"file of {name} (" in _error_message(folder, tfds_name=name)
    assert len(set(mnist.CHECKSUMS[name])) == 4
    assert {len(bytes.fromhex(s)) for s in mnist.CHECKSUMS[name]} == {32}


def test_archives_are_read_if_only_they_can_be_checked(folder, monkeypatch):
  names = (*mnist.FILES["train"], *mnist.FILES["test"])
  paths = [folder / f"{name}.gz" for name in names]
  stored = [path.read_bytes() for path in paths]
  sums = tuple(hashlib.sha256(part).hexdigest() for part in stored)
  monkeypatch.setitem(mnist.CHECKSUMS, "fashion_mnist", sums)
  # Both are there after some programs have unpacked them.
  for path, part in zip(paths, stored, strict=True):
    path.with_suffix("").write_bytes(gzip.decompress(part))
  assert _open(folder, tfds_name="fashion_mnist").name.startswith("fashion")
  for path in paths:
    path.unlink()
  message = _error_message(folder, tfds_name="fashion_mnist")
  assert f"put {TRAIN_IMAGES}.gz next to it" in message
  assert _open(folder).name.startswith("unchecked files in ")


def test_other_sets_are_reported_as_unchecked(folder):
  for name in ("", "kmnist"):
    assert _open(folder, tfds_name=name).name.startswith("unchecked files in ")


def test_missing_file_raises_with_its_name(folder):
  (folder / f"{TEST_LABELS}.gz").unlink()
  assert len(_open(folder)) == 16
  message = _error_message(folder, "test", FileNotFoundError)
  assert f"no {TEST_LABELS} or {TEST_LABELS}.gz in {folder}" in message
  message = _error_message(folder / "nowhere", "test", FileNotFoundError)
  assert f"no {TEST_IMAGES} or" in message and "nowhere" in message


def test_damaged_archive_raises_with_its_name(folder):
  path = folder / f"{TRAIN_IMAGES}.gz"
  whole = path.read_bytes()
  for data in (
    whole[:-30],
    whole[:40] + b"\0" * 40 + whole[80:],
    whole[:10] + b"\xff" * 40,  # No compressed block begins like this.
    b"no gzip",
  ):
    path.write_bytes(data)
    message = _error_message(folder)
    assert f"{path} is cut off or damaged" in message


@pytest.mark.parametrize(
  "data, message",
  [
    (b"", "begins with 0, expected 2051: it is not an idx file of pictures"),
    (mnist_files.idx(np.zeros(9, np.uint8)), "begins with 2049, expected 2051"),
    (
      mnist_files.idx(np.zeros((2, 3, 4), np.uint8))[:-1],
      r"should have 24 values \(2x3x4\), but has 23",
    ),
    (
      mnist_files.idx(np.zeros((2, 3, 4), np.uint8)) + b"\0",
      r"should have 24 values \(2x3x4\), but has 25",
    ),
    (mnist_files.idx(np.zeros((2, 3, 4), np.uint8))[:7], r"but has 0"),
    (mnist_files.idx(np.zeros((0, 3, 4), np.uint8)), r"but has 0"),
  ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_bad_idx_file_raises(folder, data, message, packed):
  mnist_files.put(folder, TRAIN_IMAGES, data, packed=packed)
  with pytest.raises(ValueError, match=message):
    _open(folder)


def test_different_numbers_of_pictures_and_labels_raise(folder):
  mnist_files.put(folder, TEST_LABELS, mnist_files.idx(np.zeros(11, np.uint8)))
  message = _error_message(folder, "test")
  assert "12 pictures" in message and "11 labels" in message


def test_too_few_pictures_raise(tmp_path):
  mnist_files.write(tmp_path, counts={"train": 1024, "test": 3})
  for split in ("train", "validation"):
    message = _error_message(tmp_path, split)
    assert "1024 training pictures, expected more than the 1024" in message
  assert len(_open(tmp_path, "test")) == 3


def test_without_a_path_tfds_must_have_prepared_the_set(monkeypatch, tmp_path):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  message = _error_message("", kind=FileNotFoundError, tfds_name="mnist")
  assert "prepare_tfds --name=mnist" in message
  assert "--config.data.path=FOLDER" in message
  assert "needs the path of a folder" in _error_message("")


def test_splits_of_a_prepared_set(monkeypatch):
  calls = []
  monkeypatch.setattr(
    "cinn_jax.data.tfds_images.open_tfds",
    lambda name, split, tfds_split: calls.append((name, split, tfds_split)),
  )
  for split in sources.SPLITS:
    _open("", split, "mnist")
  sources.open_source("mnist", "test", tfds_name="kmnist", test_split="t[:9]")
  assert calls == [
    ("mnist", "train", "train[1024:]"),
    ("mnist", "validation", "train[:1024]"),
    ("mnist", "test", "test"),
    ("kmnist", "test", "t[:9]"),
  ]


@pytest.mark.parametrize("name", ["mnist", "color_mnist"])
def test_train_split_alone_raises(name):
  with pytest.raises(ValueError, match="TFDS splits as train_split and valid"):
    sources.open_source(
      name, "validation", tfds_name="mnist", train_split="train[:10000]"
    )


def test_tfds_split_of_files_raises(folder):
  with pytest.raises(ValueError, match=r"'test\[:9\]' is a split of a set"):
    sources.open_source(
      "mnist", "test", path=folder, tfds_name="", test_split="test[:9]"
    )


def test_files_need_no_tensorflow(folder):
  code = (
    "import sys; from cinn_jax.data import sources;"
    f"sources.open_source('mnist', 'train', path={str(folder)!r});"
    "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
