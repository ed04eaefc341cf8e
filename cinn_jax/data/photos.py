"""Patches of photographs that the dependencies ship, without any download.

Each of six photographs is cut into training and held-out regions that share no
pixel. This is enough to see that a model learns, and to compare runs. It does
not measure how a model does on other scenes, because the held-out regions show
another part of the same scenes.
"""

import dataclasses
import functools
import importlib.util
import pathlib

import numpy as np
import skimage.data
from PIL import Image

from cinn_jax.data import base

CREDITS = (
  ("astronaut", "NASA", "public domain", "https://flic.kr/p/r9qvLn"),
  ("chelsea", "Stefan van der Walt", "CC0", "scikit-image"),
  ("coffee", "Rachel Michetti, Pikolo Espresso Bar", "CC0", "scikit-image"),
  (
    "rocket",
    "SpaceX",
    "public domain",
    "https://www.flickr.com/photos/spacexphotos/16511594820/",
  ),
  (
    "china",
    "danielbuechele",
    "CC BY 2.0",
    "https://www.flickr.com/photos/danielbuechele/6061409035/",
  ),
  (
    "flower",
    "vultilion",
    "CC BY 2.0",
    "https://www.flickr.com/photos/vultilion/6056698931/",
  ),
)

# Top, left, bottom, right. The cuts go through the subjects, so that each side
# shows a part of them. They lie on the block grid of the JPEGs.
Region = tuple[int, int, int, int]
REGIONS: dict[str, dict[str, tuple[Region, ...]]] = {
  # Held out: the lower left, with the mission patch on the suit.
  "astronaut": {
    "train": ((0, 0, 256, 512), (256, 224, 512, 512)),
    "validation": ((256, 0, 512, 224),),
  },
  # Held out: the cat's left eye and its ear.
  "chelsea": {
    "train": ((0, 0, 300, 272),),
    "validation": ((0, 272, 300, 451),),
  },
  # Held out: the right of the cup, with spoon and table.
  "coffee": {
    "train": ((0, 0, 400, 320),),
    "validation": ((0, 320, 400, 600),),
  },
  # Held out: the rocket between its two lightning towers.
  "rocket": {
    "train": ((0, 0, 427, 272), (0, 480, 427, 640)),
    "validation": ((112, 272, 427, 480),),
  },
  # Held out: the right of the pagoda.
  "china": {
    "train": ((0, 0, 427, 208), (0, 400, 427, 640)),
    "validation": ((48, 208, 427, 400),),
  },
  # Held out: the right of the blossom.
  "flower": {
    "train": ((0, 0, 427, 320),),
    "validation": ((48, 320, 427, 512),),
  },
}

PATCH = {"train": 160, "validation": 128}
# Distance of neighbouring training patches in pixels; in fact a little more.
STRIDE = 24
# Rows and columns of validation patches. They are the same in every photograph,
# so that each has the same weight.
GRID = (4, 3)


@dataclasses.dataclass(frozen=True)
class PhotoPatches:
  """Square patches, 160 pixels wide for training and 128 for validation.

  `self[i]` is `{"image": uint8 [H, W, 3]}`.

  Attributes:
    split: "train" or "validation".
    patches: (photograph, top, left) of each patch, in pixels.
  """

  split: str
  patches: tuple[tuple[str, int, int], ...]

  @property
  def name(self) -> str:
    return f"photos ({self.split}: {len(self)} patches of {len(REGIONS)})"

  @property
  def listing_hash(self) -> str:
    return base.hash_parts(
      f"{photograph} {top} {left} {PATCH[self.split]}"
      for photograph, top, left in self.patches
    )

  def __len__(self) -> int:
    return len(self.patches)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    photograph, top, left = self.patches[index]
    size = PATCH[self.split]
    patch = load(photograph)[top : top + size, left : left + size]
    return {"image": np.ascontiguousarray(patch)}


def open_photos(split: str) -> PhotoPatches:
  """Opens the patches of a split: "train" or "validation"."""
  patches = tuple(
    (photograph, top, left)
    for photograph, regions in REGIONS.items()
    for region in regions[split]
    for top, left in _corners(region, split)
  )
  return PhotoPatches(split, patches)


@functools.cache
def load(photograph: str) -> np.ndarray:
  """Returns a whole photograph, uint8 [H, W, 3]."""
  if photograph in ("china", "flower"):
    # The same as `sklearn.datasets.load_sample_image`, but every run would wait
    # a second for that import.
    spec = importlib.util.find_spec("sklearn")
    assert spec and spec.submodule_search_locations
    (package,) = spec.submodule_search_locations
    path = pathlib.Path(package, "datasets", "images", f"{photograph}.jpg")
    return np.asarray(Image.open(path))
  return getattr(skimage.data, photograph)()


def _corners(region, split):
  size, (top, left, bottom, right) = PATCH[split], region
  rows, columns = GRID
  if split == "train":
    rows = 1 + (bottom - top - size) // STRIDE
    columns = 1 + (right - left - size) // STRIDE
  return [
    (int(row), int(column))
    for row in np.linspace(top, bottom - size, rows).astype(int)
    for column in np.linspace(left, right - size, columns).astype(int)
  ]
