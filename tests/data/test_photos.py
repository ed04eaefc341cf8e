"""Tests of the photographs: no held-out pixel is ever trained on."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets

from cinn_jax.data import photos

MAGENTA = (255, 0, 255)


def visible(split) -> dict[str, np.ndarray]:
  """Returns masks of the pixels that a split shows, by photograph."""
  masks = {}
  for photograph, top, left in photos.open_photos(split).patches:
    blank = np.zeros(photos.load(photograph).shape[:2], bool)
    mask = masks.setdefault(photograph, blank)
    size = photos.PATCH[split]
    mask[top : top + size, left : left + size] = True
  return masks


def count_magenta(source) -> int:
  """Counts the patches with at least one magenta pixel."""
  return sum((patch["image"] == MAGENTA).all(-1).any() for patch in source)


@pytest.mark.parametrize(
  "split, other", [("validation", "train"), ("train", "validation")]
)
def test_splits_share_no_pixel(split, other, monkeypatch):
  canvas = {name: photos.load(name).copy() for name in photos.REGIONS}
  for name, mask in visible(split).items():
    canvas[name][mask] = MAGENTA
  monkeypatch.setattr(photos, "load", canvas.get)
  source = photos.open_photos(split)
  assert count_magenta(source) == len(source)
  assert count_magenta(photos.open_photos(other)) == 0


def test_number_and_size_of_patches():
  train, validation = map(photos.open_photos, ("train", "validation"))
  assert len(train) >= 300 and len(validation) >= 64
  for source, size in ((train, 160), (validation, 128)):
    assert {name for name, *_ in source.patches} == set(photos.REGIONS)
    assert len(set(source.patches)) == len(source)
    for record in source:
      image = record["image"]
      assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert str(len(source)) in source.name
  counts = [p for p, *_ in validation.patches]
  assert {counts.count(name) for name in photos.REGIONS} == {12}


def test_training_patches_cover_their_regions():
  for name, mask in visible("train").items():
    inside = np.zeros_like(mask)
    for top, left, bottom, right in photos.REGIONS[name]["train"]:
      inside[top:bottom, left:right] = True
    np.testing.assert_array_equal(mask, inside)


def test_patch_coordinates():
  source = photos.open_photos("train")
  name, top, left = source.patches[-1]
  whole = photos.load(name)
  np.testing.assert_array_equal(
    source[-1]["image"], whole[top : top + 160, left : left + 160]
  )


def test_every_photograph_is_credited():
  assert [name for name, *_ in photos.CREDITS] == list(photos.REGIONS)
  for _, author, licence, origin in photos.CREDITS:
    assert author and licence and origin


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_match_scikit_learns_loader(name):
  expected = sklearn.datasets.load_sample_image(f"{name}.jpg")
  np.testing.assert_array_equal(photos.load(name), expected)


def test_scikit_learn_is_not_imported():
  code = (
    "import sys; from cinn_jax.data import photos; photos.load('china');"
    " sys.exit('sklearn' in sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
