"""Files that are written whole or not at all."""

import pathlib

import pytest

from cinn_jax.runtime import storage


def test_write_whole_makes_folders_and_replaces(tmp_path):
  path = tmp_path / "a" / "b" / "file"
  for content in (b"old", b"new"):
    storage.write_whole(path, content)
    assert path.read_bytes() == content
  assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("flush", [False, True])
def test_failure_keeps_the_old_file(tmp_path, flush):
  path = tmp_path / "file"
  storage.write_whole(path, b"old", flush=flush)
  with (
    pytest.raises(KeyboardInterrupt),
    storage.replacing(path, flush=flush) as part,
  ):
    part.write_bytes(b"half")
    raise KeyboardInterrupt
  assert path.read_bytes() == b"old"
  assert list(tmp_path.iterdir()) == [path]


def test_plain_paths_are_those_of_pathlib():
  assert storage.path("folder/file") == pathlib.Path("folder/file")


def test_upload_copies_every_file(tmp_path):
  (tmp_path / "from" / "inner").mkdir(parents=True)
  (tmp_path / "from" / "a").write_bytes(b"a")
  (tmp_path / "from" / "inner" / "b").write_bytes(b"b")
  storage.upload(tmp_path / "from", tmp_path / "to")
  assert (tmp_path / "to" / "a").read_bytes() == b"a"
  assert (tmp_path / "to" / "inner" / "b").read_bytes() == b"b"
