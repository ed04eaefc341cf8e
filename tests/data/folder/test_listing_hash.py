"""Tests of the hashes that tell if two people have the same pictures."""

import shutil

import pytest

from cinn_jax.data import base, sources
from tests.support.folders import fill


def _hash(name, split, **options):
  return sources.open_source(name, split, **options).listing_hash


def test_folder_hash_depends_only_on_contents(tmp_path):
  path = fill(tmp_path / "photos", range(12))
  options = {"cache": tmp_path / "cache", "validation_fraction": 0.4}
  train, validation = (
    _hash("folder", split, path=path, **options)
    for split in ("train", "validation")
  )
  assert len(train) == 16 and train != validation
  moved = shutil.copytree(path, tmp_path / "other")
  (moved / "0003.png").rename(moved / "renamed.png")
  assert _hash("folder", "train", path=moved, **options) == train
  assert _hash("folder", "test", path=moved, **options) == validation
  fill(moved, [77])
  hashes = [
    _hash("folder", s, path=moved, **options) for s in ("train", "test")
  ]
  assert hashes != [train, validation]


@pytest.mark.parametrize("name", ["photos", "digits", "color_digits"])
def test_splits_of_bundled_sets_have_different_hashes(name):
  train, validation = (_hash(name, split) for split in ("train", "validation"))
  assert train != validation and train == _hash(name, "train")


def test_hash_ignores_order_but_not_borders():
  assert base.hash_parts(["a", "b"]) == base.hash_parts([b"b", b"a"])
  assert base.hash_parts(["ab", "c"]) != base.hash_parts(["a", "bc"])
