"""Tests of `open_source`, which opens every source."""

import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.data import loader, sources
from tests.support.folders import fill


@pytest.mark.parametrize(
  "name, split, options, complaint",
  [
    (
      "folders",
      "train",
      {},
      "unknown source 'folders', expected one of 'photos', 'digits', 'folder',",
    ),
    (
      "photos",
      "tset",
      {},
      "unknown split 'tset', expected one of 'train', 'validation', 'test'",
    ),
    ("photos", "train", {"path": "/photos"}, "did you mean source 'folder'"),
    ("digits", "train", {"path": "/digits"}, "did you mean source 'mnist'"),
    (
      "folder",
      "train",
      {},
      "pictures is needed: set --config.data.path=FOLDER",
    ),
    ("tfds", "train", {}, "needs a tfds_name, such as 'cifar10'"),
    (
      "digits",
      "test",
      {"test_split": "validation"},
      "source 'digits' has its own splits, got 'validation': leave out",
    ),
    ("views", "train", {"train_split": "a"}, "source 'views' has its own"),
  ],
)
def test_bad_arguments_raise_one_line(name, split, options, complaint):
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    sources.open_source(name, split, **options)
  assert complaint in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["photos", "folder"])
def test_sources_give_batches(name, tmp_path):
  options = {}
  if name == "folder":
    options = {
      "path": fill(tmp_path / "photos", range(30), "JPEG"),
      "cache": tmp_path / "cache",
      "validation_fraction": 0.7,
      "max_short_side": 4,
    }
  train = sources.open_source(name, "train", **options)
  batches = loader.training_batches(train, image_size=16, batch_size=4, seed=0)
  assert next(batches)["image"].shape == (4, 16, 16, 3)
  batches.close()
  validation = sources.open_source(name, "validation", **options)
  assert validation.name != train.name
  if name == "folder":
    assert len(validation) > 15 and train[0]["image"].shape == (4, 5, 3)
  masks = [
    batch["mask"]
    for batch in loader.evaluation_batches(
      validation, image_size=16, batch_size=4
    )
  ]
  assert np.concatenate(masks).sum() == len(validation)


@pytest.mark.parametrize("name", ["photos", "folder"])
def test_a_single_held_out_part_is_used_for_tests(name, tmp_path):
  options = {}
  if name == "folder":
    path, cache = fill(tmp_path / "photos", range(9), "JPEG"), tmp_path / "c"
    options = {"path": path, "cache": cache, "validation_fraction": 0.5}
  validation, test, train = (
    sources.open_source(name, split, **options)
    for split in ("validation", "test", "train")
  )
  # The name does not claim that it is another part.
  assert "validation" in test.name and test.name == validation.name
  assert len(test) == len(validation) != len(train)
  np.testing.assert_array_equal(test[0]["image"], validation[0]["image"])


def test_a_whole_folder_of_other_pictures_is_for_testing(tmp_path):
  fill(tmp_path / "kodak", range(3))
  splits = {"train_split": "-", "validation_split": "-", "test_split": "kodak"}
  source = sources.open_source("folder", "test", path=tmp_path, **splits)
  assert "(all: " in source.name


@pytest.mark.parametrize(
  "name, splits",
  [
    ("folder", {"test_split": "test"}),
    ("paired", {"test_split": "test"}),
    ("tfds", {"validation_split": "train[75%:]"}),
    ("tfds", {"test_split": "train[75%:]"}),
    ("mnist", {"test_split": "test+train[:10]"}),
    ("tfds", {"validation_split": "train[75%:]", "test_split": "test"}),
  ],
)
def test_held_out_pictures_are_not_trained_on(name, splits):
  held = r"'test'" if name in ("folder", "paired") else r"'[^']*train\[.*'"
  # It does not matter which split is opened first.
  for split in sources.SPLITS:
    with pytest.raises(ValueError, match=rf"{held} would be trained on"):
      sources.open_source(name, split, path="", tfds_name="mnist", **splits)


def test_sources_import_only_what_they_need():
  code = (
    "import sys; from cinn_jax.data import sources;"
    "sources.open_source('photos', 'train');"
    "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
