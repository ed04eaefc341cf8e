"""What every source of pictures is: a sequence of records."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

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
