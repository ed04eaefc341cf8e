"""What says that two people have the same pictures."""

import shutil

import pytest

from cinn_jax.data import base, prepare_folder, sources
from tests.support.folders import fill


def _hash(name, split, **options):
  return sources.open_source(name, split, **options).listing_hash


def test_it_is_of_the_contents_and_not_of_names(tmp_path):
  path = fill(tmp_path / "photos", range(12))
  options = {"cache": tmp_path / "cache", "validation_fraction": 0.4}
  train, held = (
    _hash("folder", split, path=path, **options)
    for split in ("train", "validation")
  )
  assert len(train) == 16 and train != held
  moved = shutil.copytree(path, tmp_path / "other")
  (moved / "0003.png").rename(moved / "renamed.png")
  assert _hash("folder", "train", path=moved, **options) == train
  assert _hash("folder", "test", path=moved, **options) == held
  fill(moved, [77])
  hashes = [
    _hash("folder", s, path=moved, **options) for s in ("train", "test")
  ]
  assert hashes != [train, held]


@pytest.mark.parametrize("name", ["photos", "digits", "color_digits"])
def test_what_ships_has_one_by_split(name):
  train, held = (_hash(name, split) for split in ("train", "validation"))
  assert train != held and train == _hash(name, "train")


def test_order_does_not_count_and_borders_do():
  assert base.hash_of(["a", "b"]) == base.hash_of([b"b", b"a"])
  assert base.hash_of(["ab", "c"]) != base.hash_of(["a", "bc"])


def test_the_command_prints_counts_and_hashes(tmp_path, capsys):
  path = fill(tmp_path / "photos", range(12))
  cache = f"--cache={tmp_path / 'cache'}"
  prepare_folder.main([f"--path={path}", cache, "--validation_fraction=0.4"])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(":")[0] for line in lines] == list(sources.SPLITS)
  assert "images), listing " in lines[0]
  with pytest.raises(SystemExit, match="no folder"):
    prepare_folder.main(["--path=/nonexistent", cache])
