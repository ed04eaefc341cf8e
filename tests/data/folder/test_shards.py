"""Tests that shards are complete or missing, even if their writer is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cinn_jax.data.folder import preparation, shards
from cinn_jax.images import reading
from tests.support import pictures
from tests.support.folders import both, contents, fill, prepared, small

PREPARE = """
import sys
from cinn_jax.data.folder import preparation, source
preparation.SHARD_FILES = 4
real = preparation.encode_record
def slow(*args, **options):
  import time
  time.sleep(float(sys.argv[3]))
  return real(*args, **options)
preparation.encode_record = slow
opened = source.open_folder(sys.argv[1], "train", cache=sys.argv[2])
print(len(opened))
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


def unfinished_shards(cache):
  return list((cache / "folders").glob("*/.*.part"))


def test_a_killed_preparation_continues(
  tmp_path, small_shards, monkeypatch, capsys
):
  photos, cache = fill(tmp_path / "photos", range(40)), tmp_path / "c"
  process = start(photos, cache, 0.1)
  # Wait for the middle of the fourth shard or a later one.
  while len(finished_shards(cache)) < 3 or not unfinished_shards(cache):
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  kept = finished_shards(cache)
  assert 3 <= len(kept) < 10 and unfinished_shards(cache)
  stamps = {path: path.stat().st_mtime_ns for path in kept}
  calls, real = [], preparation.encode_record
  monkeypatch.setattr(
    preparation,
    "encode_record",
    lambda *args, **options: calls.append(args[1]) or real(*args),
  )
  train, validation = both(photos, cache)
  assert len(calls) == 40 - 4 * len(kept)
  assert "Preparing images: 100%" in capsys.readouterr().err
  assert {p: p.stat().st_mtime_ns for p in kept} == stamps
  assert not unfinished_shards(cache)
  truth = {small(i).tobytes() for i in range(40)}
  assert contents(train) | contents(validation) == truth


def test_processes_can_prepare_at_the_same_time(tmp_path, small_shards):
  photos, cache = fill(tmp_path / "photos", range(24)), tmp_path / "c"
  processes = [start(photos, cache, 0.03) for _ in range(3)]
  outputs = [process.communicate(timeout=60) for process in processes]
  assert all(process.returncode == 0 for process in processes), outputs
  lengths = {out for out, _ in outputs}
  assert len(lengths) == 1
  # One of them did the work, while the others waited.
  assert sum("Preparing images" in err for _, err in outputs) == 1
  train, validation = both(photos, cache)
  assert contents(train) | contents(validation) == {
    small(i).tobytes() for i in range(24)
  }


def test_broken_shards_are_written_again(tmp_path, small_shards):
  photos, cache = fill(tmp_path / "photos", range(16)), tmp_path / "c"
  truth = [contents(source) for source in both(photos, cache)]
  (directory,) = prepared(cache)
  whole = (directory / "00000.array_record").read_bytes()
  (directory / "00000.array_record").write_bytes(whole[:-1000])
  (directory / "00001.json").unlink()
  (directory / "00002.array_record").unlink()
  (directory / "00003.json").write_text('{"bytes":')
  (directory / ".00003.array_record.x.part").write_bytes(whole[:100])
  for source, expected in zip(both(photos, cache), truth, strict=True):
    assert contents(source) == expected
  assert (directory / "00000.array_record").read_bytes() == whole
  assert not list(directory.glob(".*.part"))


def test_a_failure_leaves_no_files(tmp_path):
  def stop_halfway():
    yield "a", "0", pictures.encoded(small(0))
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    shards.write(tmp_path, 0, stop_halfway())
  assert not list(tmp_path.iterdir())
  assert shards.read_list(tmp_path, 0) is None


def test_files_are_flushed_before_they_are_renamed(tmp_path, monkeypatch):
  calls = []
  for name in ("fsync", "replace"):
    real = getattr(os, name)

    def spy(*args, name=name, real=real):
      calls.append(name)
      return real(*args)

    monkeypatch.setattr(os, name, spy)
  shards.write(tmp_path, 0, [("a", "0", pictures.encoded(small(0)))])
  assert calls == ["fsync", "replace", "fsync"] * 2
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"00000.array_record", "00000.json"}


def test_damaged_record_raises_one_line(tmp_path):
  photos, cache = fill(tmp_path / "photos", range(4)), tmp_path / "c"
  both(photos, cache)
  (file,) = (cache / "folders").rglob("*.array_record")
  damaged = bytearray(file.read_bytes())
  place = damaged.index(pictures.encoded(small(0)))
  damaged[place + 20] ^= 255
  file.write_bytes(damaged)
  broken = 0
  for source in both(photos, cache):
    for i in range(len(source)):
      try:
        source[i]
      except reading.UnreadableImage as error:
        broken += 1
        assert str(file) in str(error) and "damaged: delete it" in str(error)
        assert "\n" not in str(error)
  assert broken == 1
