"""Sources made of another source: labelled, thinned, halved, cut, resized."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from cinn_jax.data.base import PICTURES, Source
from cinn_jax.images import reading


@dataclasses.dataclass(frozen=True)
class _Of:
  """What is made of another source, whose name and pictures it keeps."""

  source: Source

  @property
  def name(self):
    return self.source.name

  @property
  def listing_hash(self):
    return self.source.listing_hash

  def __len__(self):
    return len(self.source)


@dataclasses.dataclass(frozen=True)
class Labelled(_Of):
  """A source whose labels are known to be of so many classes."""

  num_classes: int

  def __getitem__(self, index):
    """Raises ValueError for a label below 0, or of no class."""
    record = self.source[index]
    label = record.get("label", 0)
    if not 0 <= label < self.num_classes:
      raise ValueError(
        f"{self.name} has the label {label}, expected 0 to"
        f" {self.num_classes - 1}: set --config.task.num_classes to how many"
        " classes there are, or choose other pictures"
      )
    return record


@dataclasses.dataclass(frozen=True)
class Spread(_Of):
  """`count` records of a source, spread evenly over it."""

  count: int

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    last = max(self.count - 1, 1)
    return self.source[round(index * (len(self.source) - 1) / last)]


@dataclasses.dataclass(frozen=True)
class SideBySide:
  """The left half of each picture as the condition of the right one.

  So do edges2shoes and the other sets of Isola et al. 2017 come: a sketch,
  label map or the like, and the photograph of the same size to its right.

  `self[i]` is `{"image": uint8 [H, W, 3], "condition": uint8 [H, W, 3]}`.

  Attributes:
    pictures: a source of such pairs.
  """

  pictures: Source

  @property
  def name(self) -> str:
    return f"pairs of {self.pictures.name}"

  @property
  def listing_hash(self) -> str:
    return self.pictures.listing_hash

  def __len__(self) -> int:
    return len(self.pictures)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    record = self.pictures[index]
    width = record["image"].shape[1]
    if width % 2:
      raise reading.UnreadableImage(
        f"{self.name}[{index}]",
        f"a width of {width} pixels, which is no two pictures side by side",
      )
    left, right = np.split(record["image"], 2, axis=1)
    return {**record, "image": right, "condition": left}


@dataclasses.dataclass(frozen=True)
class Preprocessed:
  """A source's pictures, cut and then resized.

  Attributes:
    source: where they come from.
    crop: pixels to cut off: left, top, right, bottom; () for none.
    resize: (H, W) that what is left is brought to by Pillow's bicubic filter,
      stretched if need be; () for none.
  """

  source: Source
  crop: tuple[int, ...]
  resize: tuple[int, ...]

  def __post_init__(self):
    if len(self.crop) not in (0, 4) or any(cut < 0 for cut in self.crop):
      raise ValueError(
        "data.crop is pixels to cut off, (left, top, right, bottom), got"
        f" {self.crop}"
      )
    if len(self.resize) not in (0, 2) or any(side < 1 for side in self.resize):
      raise ValueError(f"data.resize is (height, width), got {self.resize}")

  @property
  def name(self) -> str:
    cut = f", cut by {self.crop}" if self.crop else ""
    resized = f", resized to {self.resize}" if self.resize else ""
    return f"{self.source.name}{cut}{resized}"

  @property
  def listing_hash(self) -> str:
    return self.source.listing_hash

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self.source[index]
    done = {
      name: self._process(record[name], index)
      for name in PICTURES
      if name in record
    }
    return {**record, **done}

  def _process(self, picture, index):
    if self.crop:
      left, top, right, bottom = self.crop
      height, width = picture.shape[:2]
      if left + right >= width or top + bottom >= height:
        raise reading.UnreadableImage(
          f"{self.source.name}[{index}]",
          f"{width}x{height} pixels, of which data.crop leaves none",
        )
      picture = picture[top : height - bottom, left : width - right]
    if self.resize:
      image = Image.fromarray(np.ascontiguousarray(picture))
      size = self.resize[::-1]
      picture = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(picture)
