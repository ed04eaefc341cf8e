"""Tests of folders of pictures: files of every kind, errors, and splits."""

import os

import numpy as np
import pytest

from cinn_jax.data.folder import source
from tests.support import pictures
from tests.support.folders import both, contents, fill, small


def records(place, cache, **options) -> list[bytes]:
  train, validation = both(place, cache, **options)
  return [train.records[i] for i in range(len(train) + len(validation))]


def test_files_of_every_kind_and_depth_become_rgb(tmp_path):
  photos, cache = tmp_path / "photos", tmp_path / "cache"
  deep = photos / "a" / "b c"
  deep.mkdir(parents=True)
  truth = pictures.colors()
  grey16 = truth[..., 0].astype(np.uint16) * 257
  (photos / "one.PNG").write_bytes(pictures.encoded(truth))
  (photos / "two.jpeg").write_bytes(pictures.encoded(truth[..., 0], "JPEG"))
  (deep / "three.webp").write_bytes(pictures.encoded(truth[::-1], "WEBP"))
  (deep / "four.tiff").write_bytes(pictures.tiff(grey16))
  (deep / "notes.txt").write_text("no picture")
  (photos / ".hidden.png").write_bytes(pictures.encoded(truth[:, ::-1]))
  name = os.fsencode(deep) + b"/caf\xe9\n.tif"
  with open(name, "wb") as file:
    file.write(pictures.tiff(65535 - grey16))
  train, validation = both(photos, cache)
  assert len(train) + len(validation) == 5 and len(validation) >= 1
  for split in (train, validation):
    for record in split:
      assert record.keys() == {"image"}
      image = record["image"]
      assert image.shape == truth.shape and image.dtype == np.uint8
  everything = contents(train) | contents(validation)
  assert truth.tobytes() in everything
  assert np.stack([truth[..., 0]] * 3, -1).tobytes() in everything
  assert "train" in train.name and str(photos) in train.name
  with pytest.raises(IndexError):
    train[len(train)]


def test_plain_files_are_stored_unchanged(tmp_path):
  truth = pictures.colors()
  files = [
    pictures.encoded(truth, "JPEG", quality=60),
    pictures.encoded(truth),
    pictures.encoded(truth[..., 0], "JPEG", progressive=True),
  ]
  (tmp_path / "photos").mkdir()
  for i, data in enumerate(files):
    (tmp_path / "photos" / f"{i}.jpg").write_bytes(data)
  kept = records(tmp_path / "photos", tmp_path / "cache")
  assert sorted(kept) == sorted(files)


def test_unreadable_files_are_skipped_and_reported(tmp_path, caplog):
  photos = fill(tmp_path / "photos", range(6))
  (photos / "empty.jpg").write_bytes(b"")
  (photos / "half.png").write_bytes(pictures.encoded(pictures.colors())[:90])
  (photos / "tab\there.tif").write_bytes(b"no TIFF")
  (photos / "huge.png").write_bytes(pictures.huge_png(50_000, 50_000))
  (photos / "gone.jpg").symlink_to(tmp_path / "nowhere")
  with open(os.fsencode(photos) + b"/caf\xe9\n.jpg", "wb") as file:
    file.write(b"no JPEG")
  train, validation = both(photos, tmp_path / "cache")
  assert len(train) + len(validation) == 6
  (report,) = (tmp_path / "cache").rglob("skipped.txt")
  entries = dict(line.split("\t") for line in report.read_text().splitlines())
  assert entries.keys() == {
    "empty.jpg",
    "half.png",
    "tab\\there.tif",
    "huge.png",
    "gone.jpg",
    "caf\\udce9\\n.jpg",
  }
  assert entries["empty.jpg"] == "an empty file"
  assert "truncated" in entries["half.png"]
  assert "megapixels" in entries["huge.png"]
  assert "No such file" in entries["gone.jpg"]
  (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert "Skipped 6 of 12 files" in line and str(report) in line
  assert "\n" not in line


def error_message(kind, place, cache="unused", split="train", **options) -> str:
  with pytest.raises(kind) as caught:
    source.open_folder(place, split, cache=cache, **options)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_a_folder_without_pictures_raises(tmp_path):
  cache = tmp_path / "cache"
  assert "there is no folder" in error_message(
    FileNotFoundError, tmp_path / "no"
  )
  assert "set --config.data.path" in error_message(FileNotFoundError, "")
  file = tmp_path / "file.jpg"
  file.write_bytes(pictures.encoded(pictures.colors()))
  assert "is a file" in error_message(ValueError, file)
  empty = tmp_path / "empty"
  empty.mkdir()
  assert "no usable image" in error_message(ValueError, empty, cache)
  (empty / "text.txt").write_text("no picture")
  assert ".tiff" in error_message(ValueError, empty, cache)
  for _ in range(2):  # The second time from the cache.
    (empty / "bad.jpg").write_bytes(b"bad")
    message = error_message(ValueError, empty, cache)
    assert "no usable image" in message and "none of 1 files" in message
    assert "skipped.txt" in message
  for fraction in (0, 1, -1, 2):
    options = {"validation_fraction": fraction}
    message = error_message(ValueError, tmp_path, cache, **options)
    assert f"validation_fraction is {fraction}" in message
  message = error_message(ValueError, tmp_path, cache, max_short_side=0)
  assert "max_short_side is 0, expected 1 or more" in message


def test_a_cache_that_cannot_be_written_raises(tmp_path):
  photos = fill(tmp_path / "photos", range(3))
  (tmp_path / "file").write_text("in the way")
  message = error_message(ValueError, photos, tmp_path / "file" / "cache")
  assert "cannot write the cache" in message and "CINN_JAX_CACHE" in message


def test_cache_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.delenv("CINN_JAX_CACHE", raising=False)
  default = tmp_path / "home" / ".cache" / "cinn_jax"
  assert source.cache_directory() == default
  monkeypatch.setenv("CINN_JAX_CACHE", str(tmp_path / "env"))
  assert source.cache_directory() == tmp_path / "env"
  assert source.cache_directory("~/x") == tmp_path / "home" / "x"
  both(fill(tmp_path / "photos", range(3)), "")
  assert list((tmp_path / "env" / "folders").iterdir())


def test_splits_are_disjoint_and_match_the_fraction(tmp_path):
  photos = fill(tmp_path / "photos", range(300))
  train, validation = both(photos, tmp_path / "c", validation_fraction=0.2)
  assert 35 <= len(validation) <= 85
  assert not contents(train) & contents(validation)
  truth = {small(i).tobytes() for i in range(300)}
  assert contents(train) | contents(validation) == truth
  fewer = both(photos, tmp_path / "c", validation_fraction=0.1)[1]
  assert contents(fewer) < contents(validation)


def test_copies_are_in_the_same_split(tmp_path):
  photos = fill(tmp_path / "photos", range(20))
  for copy in "abc":
    fill(photos / copy, range(20))
  train, validation = both(photos, tmp_path / "c", validation_fraction=0.3)
  assert len(train) + len(validation) == 80
  assert not contents(train) & contents(validation)
  assert len(validation) % 4 == 0


def test_adding_files_keeps_the_split_of_the_others(tmp_path):
  photos = fill(tmp_path / "photos", range(60))
  before = set()
  for count in (60, 100, 140, 180):
    fill(photos, range(count))
    validation = source.open_folder(
      photos, "validation", cache=tmp_path / "c", validation_fraction=0.3
    )
    old = {small(i).tobytes() for i in range(count - 40)}
    assert count == 60 or contents(validation) & old == before
    before = contents(validation)


def test_each_split_gets_an_image(tmp_path):
  photos = fill(tmp_path / "photos", range(2))
  fill(photos / "copies", range(2))
  # Unreadable files do not count, whatever their digests are.
  for i in range(20):
    (photos / f"bad{i}.png").write_bytes(bytes([i]))
  for fraction in (1e-9, 0.05, 0.5, 0.999999):
    options = {"validation_fraction": fraction}
    train, validation = both(photos, tmp_path / "c", **options)
    assert len(train) == len(validation) == 2
    assert len(contents(train) | contents(validation)) == 2


def test_a_single_picture_leaves_none_for_validation(tmp_path):
  photos = fill(tmp_path / "photos", [0])
  fill(photos / "copies", [0])
  options = {"cache": tmp_path / "c", "validation_fraction": 0.9}
  assert len(source.open_folder(photos, "train", **options)) == 2
  message = error_message(ValueError, photos, split="validation", **options)
  assert "no validation image" in message
