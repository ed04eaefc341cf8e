"""The embedded photographs: no held-out pixel is ever trained on."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets

from cinn_jax.data import photos

MAGENTA = (255, 0, 255)


def visible(split) -> dict[str, np.ndarray]:
  """Which pixels of each photograph the patches of a split show."""
  shown = {}
  for photograph, top, left in photos.open_photos(split).patches:
    blank = np.zeros(photos.load(photograph).shape[:2], bool)
    mask = shown.setdefault(photograph, blank)
    size = photos.PATCH[split]
    mask[top : top + size, left : left + size] = True
  return shown


def has_paint(source) -> int:
  return sum((patch["image"] == MAGENTA).all(-1).any() for patch in source)


@pytest.mark.parametrize(
  "painted, other", [("validation", "train"), ("train", "validation")]
)
def test_no_patch_shows_a_pixel_of_the_other_split(painted, other, monkeypatch):
  shown = visible(painted)
  canvas = {name: photos.load(name).copy() for name in photos.REGIONS}
  for name, mask in shown.items():
    canvas[name][mask] = MAGENTA
  monkeypatch.setattr(photos, "load", canvas.get)
  source = photos.open_photos(painted)
  assert has_paint(source) == len(source)
  assert has_paint(photos.open_photos(other)) == 0


def test_patches_are_many_whole_and_from_every_photograph():
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


def test_training_shows_its_regions_to_the_edge():
  for name, mask in visible("train").items():
    inside = np.zeros_like(mask)
    for top, left, bottom, right in photos.REGIONS[name]["train"]:
      inside[top:bottom, left:right] = True
    np.testing.assert_array_equal(mask, inside)


def test_patches_are_cut_where_they_say():
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
def test_scikit_learns_photographs_are_those_that_it_loads(name):
  expected = sklearn.datasets.load_sample_image(f"{name}.jpg")
  np.testing.assert_array_equal(photos.load(name), expected)


def test_scikit_learn_is_not_imported():
  code = (
    "import sys; from cinn_jax.data import photos; photos.load('china');"
    " sys.exit('sklearn' in sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
