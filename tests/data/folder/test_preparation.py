"""Tests that a folder is prepared once, and again after a change."""

import json
import os
import time

import pytest

from cinn_jax.data.folder import listing, preparation, source
from cinn_jax.images import reading
from tests.support import pictures
from tests.support.folders import both, contents, fill, prepared, small


def forbid(monkeypatch, owner, name):
  def refuse(*args, **kwargs):
    raise AssertionError(f"{name} was called")

  monkeypatch.setattr(owner, name, refuse)


def test_a_second_start_reads_no_file(tmp_path, settled, monkeypatch):
  photos = fill(tmp_path / "photos", range(9))
  (photos / "bad.jpg").write_bytes(b"bad")
  first = both(photos, tmp_path / "c")
  forbid(monkeypatch, preparation, "encode_record")
  forbid(monkeypatch, listing.hashlib, "file_digest")
  forbid(monkeypatch, reading, "contents")
  again = both(photos, tmp_path / "c")
  for one, other in zip(first, again, strict=True):
    assert contents(one) == contents(other)


def test_files_that_changed_just_now_are_read_again(tmp_path, monkeypatch):
  photos = fill(tmp_path / "photos", range(3))
  both(photos, tmp_path / "c")
  forbid(monkeypatch, listing.hashlib, "file_digest")
  with pytest.raises(AssertionError, match="file_digest"):
    both(photos, tmp_path / "c")


def same_size_same_time(photos):
  file = photos / "0001.png"
  stat = file.stat()
  swapped = pictures.encoded(small(1)[::-1])
  file.write_bytes(swapped[: stat.st_size].ljust(stat.st_size, b"\0"))
  os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
  assert file.stat().st_size == stat.st_size


CHANGES = {
  "added": lambda photos: fill(photos, [77]),
  "removed": lambda photos: (photos / "0001.png").unlink(),
  "renamed": lambda photos: (photos / "0001.png").rename(photos / "0001b.png"),
  "edited, with the same size and time": same_size_same_time,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_folder_is_prepared_again(tmp_path, change, settled):
  photos, cache = fill(tmp_path / "photos", range(5)), tmp_path / "c"
  both(photos, cache)
  before = prepared(cache)
  time.sleep(0.02)  # More than the clock of the file system ticks.
  change(photos)
  train, validation = both(photos, cache)
  assert len(prepared(cache)) == 2 and set(before) < set(prepared(cache))
  assert len(train) + len(validation) == len(list(photos.iterdir()))


def test_other_record_settings_prepare_again(tmp_path):
  photos, cache = fill(tmp_path / "photos", range(3)), tmp_path / "c"
  both(photos, cache, max_short_side=4)
  assert both(photos, cache)[0][0]["image"].shape[0] == 6
  assert len(prepared(cache)) == 2
  assert both(photos, cache, max_short_side=4)[0][0]["image"].shape[0] == 4
  both(photos, cache, validation_fraction=0.5)
  assert len(prepared(cache)) == 2


def test_a_copy_of_a_folder_is_not_prepared_again(tmp_path):
  cache = tmp_path / "c"
  both(fill(tmp_path / "one", range(4)), cache)
  both(fill(tmp_path / "two", range(4)), cache)
  assert len(prepared(cache)) == 1


def test_preparation_shows_a_progress_bar(tmp_path, settled, capsys):
  photos = fill(tmp_path / "photos", range(5))
  both(photos, tmp_path / "c")
  shown = capsys.readouterr().err
  assert "Preparing images" in shown and "5/5" in shown
  both(photos, tmp_path / "c")
  assert not capsys.readouterr().err


def test_a_file_that_changes_during_preparation_raises(tmp_path, monkeypatch):
  photos, cache = fill(tmp_path / "photos", range(3)), tmp_path / "c"
  real = listing.digests

  def then_change(*args):
    result = real(*args)
    (photos / "0001.png").write_bytes(pictures.encoded(small(99)))
    return result

  monkeypatch.setattr(listing, "digests", then_change)
  with pytest.raises(ValueError, match=r"0001\.png changed .*: run again"):
    both(photos, cache)
  monkeypatch.undo()
  assert len(both(photos, cache)[0]) == 2


def test_broken_and_stale_digest_files_do_no_harm(
  tmp_path, settled, monkeypatch
):
  photos, cache = fill(tmp_path / "photos", range(6)), tmp_path / "c"
  both(photos, cache)
  (memory,) = (cache / "digests").iterdir()
  lines = memory.read_text().splitlines()
  memory.write_text("\n".join(lines)[:-15])
  expected = contents(source.open_folder(photos, "train", cache=cache))
  assert len(prepared(cache)) == 1
  forbid(monkeypatch, listing.hashlib, "file_digest")
  assert contents(both(photos, cache)[0]) == expected
  # Entries of files that are gone are dropped once they are the majority.
  stale = (json.dumps((f"gone{i}", (1, 2, 3), "0")) for i in range(3000))
  with memory.open("a") as file:
    file.write("\n".join(stale) + "\n")
  both(photos, cache)
  assert len(memory.read_text().splitlines()) == 6
  assert contents(both(photos, cache)[0]) == expected


def test_links_are_followed_once(tmp_path):
  photos = fill(tmp_path / "photos", range(2))
  fill(tmp_path / "elsewhere", range(2, 4))
  (photos / "link").symlink_to(tmp_path / "elsewhere")
  (photos / "again").symlink_to(tmp_path / "elsewhere")
  (photos / "up").symlink_to(photos)
  (photos / "self.png").symlink_to(photos / "self.png")
  files = listing.find_pictures(str(photos))
  assert list(files) == [
    "0000.png",
    "0001.png",
    "again/0002.png",
    "again/0003.png",
    "self.png",
  ]
  assert files["self.png"] is None


def test_many_files_are_split_into_few_shards():
  sizes = [len(p) for p in preparation.split_into_shards(range(100_000))]
  assert sum(sizes) == 100_000 and len(sizes) <= 128
  assert [len(p) for p in preparation.split_into_shards(range(300))] == [
    preparation.SHARD_FILES,
    300 - preparation.SHARD_FILES,
  ]
