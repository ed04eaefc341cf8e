"""What published experiments do to their pictures before all else."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from cinn_jax.data.base import PICTURES, Source
from cinn_jax.images import reading


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
