"""What every source of pictures is: a sequence of records."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

# The entries of a record that are pictures, of one shape.
PICTURES = ("image", "grey", "condition")


class Source(Protocol):
  """A sequence of records, read in any order and from any thread.

  Attributes:
    name: a short description, for logs and messages.
    listing_hash: 16 hexadecimal digits that stand for the records of this
      split: two people whose hashes are equal measure on the same pictures.
  """

  name: str
  listing_hash: str

  def __len__(self) -> int:
    """The number of records of this split, at least one."""

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Reads a record.

    Returns:
      "image": uint8 [H, W, 3], sRGB; H and W vary, and the channels of grey
      are equal. "grey" and "condition", where there are any, are further
      pictures of that shape, cropped alike. Whatever else there is, such as an
      integer "label", is of one shape throughout.

    Raises:
      UnreadableImage: the record is damaged; others may be sound.
    """


def hash_of(parts: Iterable[bytes | str]) -> str:
  """A `listing_hash` of what tells the records of a split, in any order."""
  hashed = hashlib.sha256()
  for part in sorted(p.encode() if isinstance(p, str) else p for p in parts):
    hashed.update(len(part).to_bytes(8, "little") + part)
  return hashed.hexdigest()[:16]


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
    return hash_of(
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
