"""Tests of pairs in one picture, and of crops and sizes set in the config."""

import numpy as np
import pytest
from PIL import Image

from cinn_jax.data import derived, loader, sources
from cinn_jax.images import reading
from tests.support.folders import fill


class _Pairs:
  """A source like edges2shoes: black and white left, colours right."""

  name, listing_hash = "pairs", "0"

  def __init__(self, width=48):
    self.width = width

  def __len__(self):
    return 5

  def __getitem__(self, index):
    rng = np.random.default_rng(index)
    right = rng.integers(0, 256, (24, self.width // 2, 3), np.uint8)
    left = np.where(right[..., :1] < 128, 0, 255).astype(np.uint8)
    both = np.concatenate([np.repeat(left, 3, -1), right], 1)
    return {"image": both[:, : self.width]}


def test_left_half_is_the_condition():
  source = derived.SideBySide(_Pairs())
  assert len(source) == 5 and source.listing_hash == "0"
  record = source[2]
  np.testing.assert_array_equal(
    np.concatenate([record["condition"], record["image"]], 1),
    _Pairs()[2]["image"],
  )


def test_odd_width_raises():
  class Odd(_Pairs):
    def __getitem__(self, index):
      return {"image": np.zeros((4, 9, 3), np.uint8)}

  with pytest.raises(reading.UnreadableImage, match="a width of 9 pixels is"):
    derived.SideBySide(Odd())[0]


def test_halves_keep_equal_widths_when_scaled_down(tmp_path):
  folder = tmp_path / "pairs"
  folder.mkdir()
  for k in range(2):
    left = np.full((60, 80, 3), 40 + k, np.uint8)
    both = np.concatenate([left, 255 - left], 1)
    Image.fromarray(both).save(folder / f"{k}.png")
  # At a height of 51, 160x60 becomes 136x51: 68 pixels per half.
  for short_side in (51, 52, 53):
    source = sources.open_source(
      "paired",
      "train",
      path=folder,
      cache=tmp_path / "cache",
      validation_fraction=0.5,
      max_short_side=short_side,
    )
    record = source[0]
    half = round(80 * short_side / 60)
    assert record["image"].shape == (short_side, half, 3)
    assert np.abs(record["condition"].astype(int) - 40).max() < 8
    assert record["image"].min() > 200


def test_both_halves_get_the_same_crop_and_flip():
  class Copies(_Pairs):
    """A source whose two halves are the same picture."""

    def __getitem__(self, index):
      right = np.random.default_rng(index).integers(0, 256, (24, 24, 3))
      return {"image": np.concatenate([right] * 2, 1).astype(np.uint8)}

  source = derived.SideBySide(Copies())
  batches = loader.training_batches(
    source, image_size=(8, 12), batch_size=8, seed=0, min_scale=0.3
  )
  batch = next(batches)
  batches.close()
  assert batch["image"].shape == (8, 8, 12, 3)
  np.testing.assert_array_equal(batch["image"], batch["condition"])
  assert len({picture.tobytes() for picture in batch["image"]}) == 8


def test_paired_folder_with_named_splits(tmp_path):
  for name, numbers in (("train", range(7)), ("val", range(7, 10))):
    fill(tmp_path / name, numbers)
  options = {
    "path": tmp_path,
    "cache": tmp_path / "cache",
    "train_split": "train",
    "validation_split": "val",
  }
  counts, hashes = [], set()
  for split in sources.SPLITS:
    source = sources.open_source("paired", split, **options)
    counts.append(len(source))
    hashes.add(source.listing_hash)
    assert source[0]["condition"].shape == source[0]["image"].shape == (6, 4, 3)
  assert counts == [7, 3, 3] and len(hashes) == 2
  with pytest.raises(ValueError, match="both or none"):
    sources.open_source("folder", "train", path=tmp_path, train_split="train")


def test_crop_and_resize_match_pillow():
  source = derived.Preprocessed(
    derived.SideBySide(_Pairs()), (2, 3, 4, 5), (9, 30)
  )
  raw, result = derived.SideBySide(_Pairs())[1], source[1]
  for name in ("image", "condition"):
    part = Image.fromarray(raw[name][3:19, 2:20].copy())
    np.testing.assert_array_equal(
      result[name], part.resize((30, 9), Image.Resampling.BICUBIC)
    )
  assert "(9, 30)" in source.name and len(source) == 5


@pytest.mark.parametrize(
  "crop, resize, complaint",
  [
    ((1, 2), (), "data.crop is (1, 2), expected the pixels to cut off"),
    ((), (3,), "data.resize is (3,), expected (height, width)"),
    ((), (0, 3), "data.resize is (0, 3), expected (height, width)"),
  ],
)
def test_bad_crop_or_resize_raises(crop, resize, complaint):
  with pytest.raises(ValueError) as caught:
    sources.open_source("photos", "train", crop=crop, resize=resize)
  assert complaint in str(caught.value)


def test_crop_that_leaves_nothing_raises():
  source = derived.Preprocessed(derived.SideBySide(_Pairs()), (9, 0, 15, 0), ())
  with pytest.raises(
    reading.UnreadableImage, match="leaves nothing of its 24x24"
  ):
    source[0]
