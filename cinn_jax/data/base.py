"""The protocol of all picture sources, and grey pictures held in memory."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

# The entries of a record that are pictures. All have the same shape.
PICTURES = ("image", "grey", "condition")


class Source(Protocol):
  """A sequence of records that can be read in any order and from any thread."""

  @property
  def name(self) -> str:
    """A short description for logs and messages."""

  @property
  def listing_hash(self) -> str:
    """16 hexadecimal digits that identify the records of this split.

    Two people who have the same hash measure on the same pictures.
    """

  def __len__(self) -> int:
    """Returns the number of records in this split, at least one."""

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Reads a record.

    Returns:
      "image": uint8 [H, W, 3], sRGB. H and W vary. A grey picture has three
      equal channels. "grey" and "condition" are optional pictures of the same
      shape, which are cropped together with it. Any other entry, such as an
      integer "label", has the same shape in every record.

    Raises:
      UnreadableImage: This record is damaged. Others may be sound.
    """


def is_cut(source: Source) -> bool:
  """Returns whether a source's pictures must not be cut or mirrored again.

  Other entries of its records, such as features, then belong to whole pictures.
  """
  return getattr(source, "is_cut", False)


def hash_parts(parts: Iterable[bytes | str]) -> str:
  """Returns a `listing_hash` of `parts`, whatever their order.

  Args:
    parts: One or more byte strings or texts that identify a split's records.
  """
  sha256 = hashlib.sha256()
  for part in sorted(p.encode() if isinstance(p, str) else p for p in parts):
    sha256.update(len(part).to_bytes(8, "little") + part)
  return sha256.hexdigest()[:16]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPictures:
  """Grey pictures with labels, held in memory.

  `self[i]` is `{"image": uint8 [H, W, 3], "label": int32}`. The three channels
  are equal, as for every grey picture in `cinn_jax.data`.

  Attributes:
    name: Name of the data set and the split.
    images: uint8 [N, H, W].
    labels: int32 [N].
  """

  name: str
  images: np.ndarray
  labels: np.ndarray

  @property
  def listing_hash(self) -> str:
    return hash_parts(
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
