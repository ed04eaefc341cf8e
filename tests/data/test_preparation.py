"""Preparing a folder: once, whole or not at all, again when it changes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cinn_jax.data import folder, images, listing, preparation, shards
from tests.data import pictures
from tests.data.test_folder import both, contents, fill, small


@pytest.fixture
def settled(monkeypatch):
  """Lets digests of files that were just written be remembered."""
  monkeypatch.setattr(listing, "_SETTLED_NS", 0)


@pytest.fixture
def small_shards(monkeypatch):
  monkeypatch.setattr(preparation, "_SHARD_FILES", 4)


def forbid(monkeypatch, owner, name):
  def refuse(*args, **kwargs):
    raise AssertionError(f"{name} was called")

  monkeypatch.setattr(owner, name, refuse)


def prepared(cache):
  return sorted((cache / "folders").iterdir())


def test_a_second_start_only_looks_at_the_files(tmp_path, settled, monkeypatch):
  photos = fill(tmp_path / "photos", range(9))
  (photos / "bad.jpg").write_bytes(b"bad")
  first = both(photos, tmp_path / "c")
  forbid(monkeypatch, preparation, "encode_record")
  forbid(monkeypatch, listing.hashlib, "file_digest")
  forbid(monkeypatch, images, "contents")
  again = both(photos, tmp_path / "c")
  for one, other in zip(first, again, strict=True):
    assert contents(one) == contents(other)


def test_files_that_just_changed_are_read_again(tmp_path, monkeypatch):
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
  "touched up, with size and time as before": same_size_same_time,
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


def test_settings_that_shape_the_records_count(tmp_path):
  photos, cache = fill(tmp_path / "photos", range(3)), tmp_path / "c"
  both(photos, cache, max_short_side=4)
  assert both(photos, cache)[0][0]["image"].shape[0] == 6
  assert len(prepared(cache)) == 2
  assert both(photos, cache, max_short_side=4)[0][0]["image"].shape[0] == 4
  both(photos, cache, validation_fraction=0.5)
  assert len(prepared(cache)) == 2


def test_the_same_pictures_elsewhere_are_prepared_already(tmp_path):
  cache = tmp_path / "c"
  both(fill(tmp_path / "one", range(4)), cache)
  both(fill(tmp_path / "two", range(4)), cache)
  assert len(prepared(cache)) == 1


def test_there_is_a_progress_bar(tmp_path, settled, capsys):
  photos = fill(tmp_path / "photos", range(5))
  both(photos, tmp_path / "c")
  shown = capsys.readouterr().err
  assert "Preparing images" in shown and "5/5" in shown
  both(photos, tmp_path / "c")
  assert not capsys.readouterr().err


PREPARE = """
import sys
from cinn_jax.data import folder, preparation
preparation._SHARD_FILES = 4
real = preparation.encode_record
def slow(*args):
  import time
  time.sleep(float(sys.argv[3]))
  return real(*args)
preparation.encode_record = slow
source = folder.open_folder(sys.argv[1], "train", cache=sys.argv[2])
print(len(source))
"""


def start(photos, cache, seconds):
  return subprocess.Popen(
    [sys.executable, "-c", PREPARE, str(photos), str(cache), str(seconds)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finished_shards(cache):
  return sorted((cache / "folders").glob("*/*.json"))


def test_a_killed_preparation_goes_on_where_it_was(
  tmp_path, small_shards, monkeypatch, capsys
):
  photos, cache = fill(tmp_path / "photos", range(40)), tmp_path / "c"
  process = start(photos, cache, 0.1)
  while len(finished_shards(cache)) < 3:
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  kept = finished_shards(cache)
  assert 3 <= len(kept) < 10 and list((cache / "folders").glob("*/*.tmp"))
  stamps = {path: path.stat().st_mtime_ns for path in kept}
  encoded, real = [], preparation.encode_record
  monkeypatch.setattr(
    preparation,
    "encode_record",
    lambda *args: encoded.append(args[1]) or real(*args),
  )
  train, validation = both(photos, cache)
  assert len(encoded) == 40 - 4 * len(kept)
  assert "Preparing images: 100%" in capsys.readouterr().err
  assert {p: p.stat().st_mtime_ns for p in kept} == stamps
  assert not list((cache / "folders").glob("*/*.tmp"))
  truth = {small(i).tobytes() for i in range(40)}
  assert contents(train) | contents(validation) == truth


def test_processes_that_prepare_at_once_agree(tmp_path, small_shards):
  photos, cache = fill(tmp_path / "photos", range(24)), tmp_path / "c"
  processes = [start(photos, cache, 0.03) for _ in range(3)]
  outputs = [process.communicate(timeout=60) for process in processes]
  assert all(process.returncode == 0 for process in processes), outputs
  lengths = {out for out, _ in outputs}
  assert len(lengths) == 1
  # The others waited: one of them did the work.
  shown = [err for _, err in outputs if "Preparing images" in err]
  assert len(shown) == 1
  train, validation = both(photos, cache)
  assert contents(train) | contents(validation) == {
    small(i).tobytes() for i in range(24)
  }


def test_shards_that_are_not_whole_are_made_again(tmp_path, small_shards):
  photos, cache = fill(tmp_path / "photos", range(16)), tmp_path / "c"
  truth = [contents(source) for source in both(photos, cache)]
  (directory,) = prepared(cache)
  whole = (directory / "00000.array_record").read_bytes()
  (directory / "00000.array_record").write_bytes(whole[:-1000])
  (directory / "00001.json").unlink()
  (directory / "00002.array_record").unlink()
  (directory / "00003.json").write_text('{"bytes":')
  (directory / "00003.array_record.x.tmp").write_bytes(whole[:100])
  for source, expected in zip(both(photos, cache), truth, strict=True):
    assert contents(source) == expected
  assert (directory / "00000.array_record").read_bytes() == whole
  assert not list(directory.glob("*.tmp"))


def test_a_failure_leaves_no_half_shard(tmp_path):
  def stop_halfway():
    yield "a", "0", pictures.encoded(small(0))
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    shards.write(tmp_path, 0, stop_halfway())
  assert not list(tmp_path.iterdir())
  assert shards.read_list(tmp_path, 0) is None


def test_files_are_flushed_before_they_get_their_names(tmp_path, monkeypatch):
  calls = []
  for name in ("fsync", "replace"):
    real = getattr(os, name)

    def spy(*args, name=name, real=real):
      calls.append(name)
      return real(*args)

    monkeypatch.setattr(shards.os, name, spy)
  shards.write(tmp_path, 0, [("a", "0", pictures.encoded(small(0)))])
  assert calls == ["fsync", "replace", "fsync"] * 2
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"00000.array_record", "00000.json"}


def test_a_damaged_record_is_told_in_one_line(tmp_path):
  photos, cache = fill(tmp_path / "photos", range(4)), tmp_path / "c"
  (file,) = both(photos, cache) and (cache / "folders").rglob("*.array_record")
  damaged = bytearray(file.read_bytes())
  place = damaged.index(pictures.encoded(small(0)))
  damaged[place + 20] ^= 255
  file.write_bytes(damaged)
  broken = 0
  for source in both(photos, cache):
    for i in range(len(source)):
      try:
        source[i]
      except images.UnreadableImage as error:
        broken += 1
        assert str(file) in str(error) and "damaged: delete it" in str(error)
        assert "\n" not in str(error)
  assert broken == 1


def test_a_file_that_changes_meanwhile_stops_the_preparation(
  tmp_path, monkeypatch
):
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


def test_torn_and_stale_memories_do_no_harm(tmp_path, settled, monkeypatch):
  photos, cache = fill(tmp_path / "photos", range(6)), tmp_path / "c"
  both(photos, cache)
  (memory,) = (cache / "digests").iterdir()
  lines = memory.read_text().splitlines()
  memory.write_text("\n".join(lines)[:-15])
  expected = contents(folder.open_folder(photos, "train", cache=cache))
  assert len(prepared(cache)) == 1
  forbid(monkeypatch, listing.hashlib, "file_digest")
  assert contents(both(photos, cache)[0]) == expected
  # What is remembered of files that are gone is dropped when it is most.
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
  found = listing.find_pictures(str(photos))
  assert list(found) == [
    *("0000.png", "0001.png", "again/0002.png", "again/0003.png", "self.png"),
  ]
  assert found["self.png"] is None


def test_hundreds_of_thousands_of_files_make_few_shards(monkeypatch, tmp_path):
  sizes = []

  def write(directory, index, pictures):
    sizes.append(len(list(pictures)))

  monkeypatch.setattr(shards, "write", write)
  order = [(str(i), "0") for i in range(100_000)]
  convert = lambda item: (*item, b"")  # noqa: E731
  monkeypatch.setattr(
    listing, "in_threads", lambda function, items, _: map(function, items)
  )
  preparation._all_shards(tmp_path, order, convert, 1)
  assert sum(sizes) == 100_000 and len(sizes) <= 128
