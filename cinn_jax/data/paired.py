"""Pictures with their conditions beside them, in one file."""

import dataclasses

import numpy as np

from cinn_jax.data.base import Source
from cinn_jax.images import reading


@dataclasses.dataclass(frozen=True)
class Halves:
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
