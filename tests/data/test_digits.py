"""Tests of the splits of scikit-learn's digits."""

import numpy as np
import sklearn.datasets

from cinn_jax.data import loader, sources

SIZES = {"train": 1257, "validation": 180, "test": 360}


def _keys(source):
  return [(s["image"].tobytes(), int(s["label"])) for s in source]


def test_splits_are_disjoint_and_complete():
  digits = sklearn.datasets.load_digits()
  pictures = np.round(digits.images * 255 / 16).astype(np.uint8)
  whole = [
    (np.stack([picture] * 3, -1).tobytes(), int(label))
    for picture, label in zip(pictures, digits.target, strict=True)
  ]
  assert len(set(whole)) == len(whole)
  keys = []
  for split, size in SIZES.items():
    source = sources.open_source("digits", split)
    assert len(source) == size and f"({split}: {size} " in source.name
    keys += _keys(source)
  assert sorted(keys) == sorted(whole)


def test_held_out_splits_are_balanced_and_fixed():
  for split, each in (("validation", 18), ("test", 36)):
    source = sources.open_source("digits", split)
    assert np.bincount(source.labels).tolist() == [each] * 10
    assert _keys(source) == _keys(sources.open_source("digits", split))
    # Ten in a row have all classes.
    assert source.labels.tolist() == list(range(10)) * each


def test_batches_have_whole_pictures_and_their_labels():
  source = sources.open_source("digits", "train")
  known = dict(_keys(source))
  batches = loader.training_batches(
    source, image_size=8, batch_size=50, seed=0, min_scale=1.0, flip=False
  )
  for _ in range(20):
    batch = next(batches)
    assert batch["label"].dtype == np.int32
    for image, label in zip(batch["image"], batch["label"], strict=True):
      assert known[image.tobytes()] == label
  batches.close()
