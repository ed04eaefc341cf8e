"""Sources built on another source: labelled, thinned, halved, cut, resized."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from cinn_jax.data.base import PICTURES, Source
from cinn_jax.images import reading


@dataclasses.dataclass(frozen=True)
class DerivedSource:
  """The common part of all sources in this module.

  A derived source keeps the name, the length and the `listing_hash` of the
  source that it reads, unless a subclass overrides them.

  Attributes:
    source: The source that it reads.
  """

  source: Source

  @property
  def name(self) -> str:
    return self.source.name

  @property
  def listing_hash(self) -> str:
    return self.source.listing_hash

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Labelled(DerivedSource):
  """A source whose labels are checked against a number of classes.

  Attributes:
    num_classes: Number of classes; the labels are 0 to `num_classes - 1`.
  """

  num_classes: int

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Reads a record. Raises ValueError if its label is out of range."""
    record = self.source[index]
    label = record.get("label", 0)
    if not 0 <= label < self.num_classes:
      raise ValueError(
        f"{self.name} has the label {label}, expected 0 to"
        f" {self.num_classes - 1}: set --config.task.num_classes to the number"
        " of classes, or choose other pictures"
      )
    return record


@dataclasses.dataclass(frozen=True)
class Spread(DerivedSource):
  """A few records of a source, spread evenly over it.

  Attributes:
    count: Number of records.
  """

  count: int

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, index: int) -> dict[str, Any]:
    last = max(self.count - 1, 1)
    return self.source[round(index * (len(self.source) - 1) / last)]


@dataclasses.dataclass(frozen=True)
class SideBySide(DerivedSource):
  """Pairs in one picture: the condition on the left, the image on the right.

  edges2shoes and the other sets of Isola et al. 2017 come in this form: a
  sketch, a label map or the like, and the photograph of the same size to its
  right.

  `self[i]` is `{"image": uint8 [H, W, 3], "condition": uint8 [H, W, 3]}`.
  """

  @property
  def name(self) -> str:
    return f"pairs of {self.source.name}"

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self.source[index]
    width = record["image"].shape[1]
    if width % 2:
      raise reading.UnreadableImage(
        f"{self.name}[{index}]",
        f"a width of {width} pixels is odd, expected two pictures side by side",
      )
    left, right = np.split(record["image"], 2, axis=1)
    return {**record, "image": right, "condition": left}


@dataclasses.dataclass(frozen=True)
class Preprocessed(DerivedSource):
  """A source whose pictures are cut and then resized.

  Attributes:
    crop: Pixels to cut off at the left, top, right and bottom; () for none. A
      folder's pictures have been scaled down to `max_short_side` before.
    resize: (H, W) of the result, by Pillow's bicubic filter, which stretches
      the picture if necessary; () to keep the size.
  """

  crop: tuple[int, ...]
  resize: tuple[int, ...]

  def __post_init__(self) -> None:
    if len(self.crop) not in (0, 4) or any(cut < 0 for cut in self.crop):
      raise ValueError(
        f"data.crop is {self.crop}, expected the pixels to cut off as (left,"
        " top, right, bottom)"
      )
    if len(self.resize) not in (0, 2) or any(side < 1 for side in self.resize):
      raise ValueError(
        f"data.resize is {self.resize}, expected (height, width)"
      )

  @property
  def name(self) -> str:
    cut = f", cut by {self.crop}" if self.crop else ""
    resized = f", resized to {self.resize}" if self.resize else ""
    return f"{self.source.name}{cut}{resized}"

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self.source[index]
    pictures = {
      name: self._process(record[name], index)
      for name in PICTURES
      if name in record
    }
    return {**record, **pictures}

  def _process(self, picture, index):
    if self.crop:
      left, top, right, bottom = self.crop
      height, width = picture.shape[:2]
      if left + right >= width or top + bottom >= height:
        raise reading.UnreadableImage(
          f"{self.source.name}[{index}]",
          f"data.crop leaves nothing of its {width}x{height} pixels",
        )
      picture = picture[top : height - bottom, left : width - right]
    if self.resize:
      image = Image.fromarray(np.ascontiguousarray(picture))
      size = self.resize[::-1]
      picture = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(picture)
