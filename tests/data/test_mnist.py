"""MNIST's four files: splits, checksums, and what is said of damaged ones."""

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.data import mnist, sources
from tests.support import made_mnist

TRAIN_IMAGES, TRAIN_LABELS = mnist.FILES["train"]
TEST_IMAGES, TEST_LABELS = mnist.FILES["test"]


@pytest.fixture
def folder(tmp_path):
  made_mnist.write(tmp_path)
  return tmp_path


def _open(folder, split="train", tfds_name=""):
  return sources.open_source("mnist", split, path=folder, tfds_name=tfds_name)


def _complaint(folder, split="train", kind=ValueError, **options):
  with pytest.raises(kind) as caught:
    _open(folder, split, **options)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_the_first_1024_training_pictures_validate(tmp_path, packed):
  made = made_mnist.write(tmp_path, packed=packed)
  parts = {
    "train": [values[1024:] for values in made["train"]],
    "validation": [values[:1024] for values in made["train"]],
    "test": made["test"],
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


def test_known_sets_are_checked_by_contents_or_by_file(folder, monkeypatch):
  paths = [folder / f"{name}.gz" for name in mnist._NAMES]
  stored = [path.read_bytes() for path in paths]
  digests = [
    [hashlib.sha256(part).hexdigest() for part in parts]
    for parts in (stored, map(gzip.decompress, stored))
  ]
  for sums in digests:
    monkeypatch.setitem(mnist.CHECKSUMS, "mnist", tuple(sums))
    for split in sources.SPLITS:
      assert _open(folder, split, "mnist").name.startswith("mnist in ")
  # One wrong value of the right form.
  data = bytearray(gzip.decompress(stored[0]))
  data[-1] ^= 1
  made_mnist.put(folder, TRAIN_IMAGES, bytes(data))
  message = _complaint(folder, tfds_name="mnist")
  assert f"{TRAIN_IMAGES}.gz is not the published file of mnist" in message
  assert hashlib.sha256(data).hexdigest() in message
  assert "--config.data.tfds_name" in message
  assert _open(folder, "test", "mnist").name.startswith("mnist in ")


def test_each_set_has_its_own_checksums(folder):
  for known in ("mnist", "fashion_mnist"):
    assert f"file of {known} (" in _complaint(folder, tfds_name=known)
    assert len(set(mnist.CHECKSUMS[known])) == 4
    assert {len(bytes.fromhex(s)) for s in mnist.CHECKSUMS[known]} == {32}


def test_unknown_contents_are_read_and_said_to_be_unchecked(folder):
  for name in ("", "kmnist"):
    assert _open(folder, tfds_name=name).name.startswith("unchecked files in ")


def test_a_missing_file_is_named(folder):
  (folder / f"{TEST_LABELS}.gz").unlink()
  assert len(_open(folder)) == 16
  message = _complaint(folder, "test", FileNotFoundError)
  assert f"no {TEST_LABELS} or {TEST_LABELS}.gz in {folder}" in message
  message = _complaint(folder / "nowhere", "test", FileNotFoundError)
  assert f"no {TEST_IMAGES} or" in message and "nowhere" in message


def test_a_damaged_archive_is_named(folder):
  path = folder / f"{TRAIN_IMAGES}.gz"
  whole = path.read_bytes()
  for data in (
    whole[:-30],
    whole[:40] + b"\0" * 40 + whole[80:],
    whole[:10] + b"\xff" * 40,  # no deflated block begins like this
    b"no gzip",
  ):
    path.write_bytes(data)
    message = _complaint(folder)
    assert f"{path} is cut off or damaged" in message


@pytest.mark.parametrize(
  "data, message",
  [
    (b"", "begins with 0, expected 2051: it is no idx file of pictures"),
    (made_mnist.idx(np.zeros(9, np.uint8)), "begins with 2049, expected 2051"),
    (
      made_mnist.idx(np.zeros((2, 3, 4), np.uint8))[:-1],
      r"says that it has 24 values \(2x3x4\), but has 23",
    ),
    (
      made_mnist.idx(np.zeros((2, 3, 4), np.uint8)) + b"\0",
      r"says that it has 24 values \(2x3x4\), but has 25",
    ),
    (made_mnist.idx(np.zeros((2, 3, 4), np.uint8))[:7], r"but has 0"),
    (made_mnist.idx(np.zeros((0, 3, 4), np.uint8)), r"but has 0"),
  ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_another_form_than_idx_is_named(folder, data, message, packed):
  made_mnist.put(folder, TRAIN_IMAGES, data, packed=packed)
  with pytest.raises(ValueError, match=message):
    _open(folder)


def test_files_that_do_not_belong_together(folder):
  made_mnist.put(folder, TEST_LABELS, made_mnist.idx(np.zeros(11, np.uint8)))
  message = _complaint(folder, "test")
  assert "12 pictures" in message and "11 labels" in message


def test_too_few_pictures(tmp_path):
  made_mnist.write(tmp_path, counts={"train": 1024, "test": 3})
  for split in ("train", "validation"):
    message = _complaint(tmp_path, split)
    assert "1024 training pictures, expected more than the 1024" in message
  assert len(_open(tmp_path, "test")) == 3


def test_without_files_a_prepared_set_is_wanted(monkeypatch, tmp_path):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  message = _complaint("", kind=FileNotFoundError, tfds_name="mnist")
  assert "prepare_tfds --name=mnist" in message
  assert "--config.data.path=FOLDER" in message
  assert "needs the path of a folder" in _complaint("")


def test_the_splits_of_a_prepared_set(monkeypatch):
  asked = []
  monkeypatch.setattr(
    "cinn_jax.data.tfds_images.open_tfds",
    lambda name, split, chosen: asked.append((name, split, chosen)),
  )
  for split in sources.SPLITS:
    _open("", split, "mnist")
  sources.open_source("mnist", "test", tfds_name="kmnist", test_split="t[:9]")
  assert asked == [
    ("mnist", "train", "train[1024:]"),
    ("mnist", "validation", "train[:1024]"),
    ("mnist", "test", "test"),
    ("kmnist", "test", "t[:9]"),
  ]


@pytest.mark.parametrize("name", ["mnist", "color_mnist"])
def test_chosen_splits_cannot_overlap_with_defaults(name):
  with pytest.raises(ValueError, match="TFDS splits as train_split and valid"):
    sources.open_source(
      name, "validation", tfds_name="mnist", train_split="train[:10000]"
    )


def test_files_have_no_tfds_splits(folder):
  with pytest.raises(ValueError, match=r"'test\[:9\]' is of a set that TFDS"):
    sources.open_source(
      *("mnist", "test"), path=folder, tfds_name="", test_split="test[:9]"
    )


def test_files_need_no_tensorflow(folder):
  code = (
    "import sys; from cinn_jax.data import sources;"
    f"sources.open_source('mnist', 'train', path={str(folder)!r});"
    "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
