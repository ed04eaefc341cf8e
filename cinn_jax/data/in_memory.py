"""Small sets of labelled grey pictures, held in memory."""

import dataclasses

import numpy as np

from cinn_jax.data import base


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPictures:
  """`self[i]` is `{"image": uint8 [H, W, 3], "label": int32}`.

  Grey becomes three equal channels, as everywhere in `cinn_jax.data`.

  Attributes:
    name: of the set and the split.
    images: uint8 [N, H, W].
    labels: int32 [N].
  """

  name: str
  images: np.ndarray
  labels: np.ndarray

  @property
  def listing_hash(self) -> str:
    return base.hash_of(
      image.tobytes() + int(label).to_bytes(4, "little")
      for image, label in zip(self.images, self.labels, strict=True)
    )

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    if not 0 <= index < len(self):
      raise IndexError(index)
    image = np.repeat(self.images[index][..., None], 3, axis=-1)
    return {"image": image, "label": self.labels[index]}
