"""A source for any folder of pictures; reads the shards of its preparation."""

import bisect
import dataclasses
import os
import pathlib

import numpy as np

from cinn_jax.data import base
from cinn_jax.data.folder import listing, preparation, shards
from cinn_jax.images import reading


@dataclasses.dataclass(frozen=True)
class FolderSource:
  """A split of a prepared folder.

  `self[i]` is `{"image": uint8 [H, W, 3]}`.

  Attributes:
    name: Path of the folder, and name of the split.
    records: Reader of the whole folder's records.
    start: Index of the first record of the split.
    length: Number of records in the split.
    listing_hash: A hash of the contents of the files, whatever their names.
  """

  name: str
  records: shards.Reader
  start: int
  length: int
  listing_hash: str

  def __len__(self) -> int:
    return self.length

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    if not 0 <= index < self.length:
      raise IndexError(index)
    record = self.records[self.start + index]
    return {"image": reading.decode_plain(record, f"{self.name}[{index}]")}


def open_folder(
  path: str | os.PathLike,
  split: str,
  *,
  cache: str | os.PathLike = "",
  validation_fraction: float = 0.05,
  max_short_side: int = 512,
  num_threads: int = 0,
  pairs: bool = False,
) -> FolderSource:
  """Opens a split of a folder of pictures, and prepares it if necessary.

  The digest of a file's contents decides if it is held out. So copies of a file
  are always in the same split, and adding files hardly moves any other. If
  there are two or more different pictures, each split gets at least one.

  Args:
    path: A folder with JPEG, PNG, WebP or TIFF files, at any depth.
    split: "train", "validation", or "all" for the whole folder.
    cache: Directory for prepared folders; by default $CINN_JAX_CACHE or
      ~/.cache/cinn_jax.
    validation_fraction: Expected fraction of the files held out, in (0, 1).
    max_short_side: Larger pictures are scaled down to it, in pixels.
    num_threads: Files decoded at a time during preparation; 0 for one per core.
    pairs: Each file has two pictures side by side, see `derived.SideBySide`.

  Raises:
    FileNotFoundError: There is no such folder.
    ValueError: It has no usable image, or another argument is wrong.
  """
  if not 0 < validation_fraction < 1:
    raise ValueError(
      f"validation_fraction is {validation_fraction}, expected above 0, below 1"
    )
  if max_short_side < 1:
    raise ValueError(f"max_short_side is {max_short_side}, expected 1 or more")
  folder = _resolve(path)
  all_shards = preparation.prepare(
    folder, cache_directory(cache), max_short_side, num_threads, pairs=pairs
  )
  digests = [digest for shard in all_shards for digest in shard.digests]
  start, stop = 0, len(digests)
  if split != "all":
    cut = _validation_start(digests, validation_fraction)
    start, stop = (0, cut) if split == "train" else (cut, len(digests))
  if start == stop:
    raise ValueError(
      f"{listing.printable(folder)} has no validation image, because all of its"
      " usable images are the same: add others"
    )
  length = stop - start
  return FolderSource(
    name=f"folder {listing.printable(folder)} ({split}: {length} images)",
    records=shards.Reader(all_shards),
    start=start,
    length=length,
    listing_hash=base.hash_parts(digests[start:stop]),
  )


def cache_directory(cache: str | os.PathLike = "") -> pathlib.Path:
  """Returns `cache`, else $CINN_JAX_CACHE, else ~/.cache/cinn_jax."""
  directory = cache or os.environ.get("CINN_JAX_CACHE") or "~/.cache/cinn_jax"
  return pathlib.Path(directory).expanduser().absolute()


def _resolve(path):
  if not path:
    raise FileNotFoundError(
      "a folder of pictures is needed: set --config.data.path=FOLDER"
    )
  folder = os.path.realpath(os.path.expanduser(path))
  if not os.path.exists(folder):
    raise FileNotFoundError(
      f"there is no folder {listing.printable(os.fspath(path))!r}"
    )
  if not os.path.isdir(folder):
    raise ValueError(
      f"{listing.printable(folder)} is a file, expected a folder of images"
    )
  return folder


def _validation_start(digests, fraction):
  """Returns the index in sorted digests at which validation begins."""
  bits = 4 * 16
  threshold = f"{min(round((1 - fraction) * 2**bits), 2**bits - 1):016x}"
  cut = bisect.bisect_left(digests, threshold)
  first_kind = bisect.bisect_right(digests, digests[0])
  last_kind = bisect.bisect_left(digests, digests[-1])
  if last_kind == 0:
    return len(digests)
  return min(max(cut, first_kind), last_kind)
