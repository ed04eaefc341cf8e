"""Any folder of pictures as a source: prepared once, then read from shards."""

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
  """A split of a prepared folder. `self[i]` is `{"image": uint8 [H, W, 3]}`.

  `listing_hash` is of the contents of its files, whatever their names.
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
  """Opens a split of a folder of pictures, preparing the folder if need be.

  A file goes to validation by the digest of its contents: copies of a file are
  always on the same side, and adding files moves hardly any other. Of two or
  more different pictures each side gets one at least.

  Args:
    path: a folder with JPEG, PNG, WebP or TIFF files, at any depth.
    split: "train", "validation", or "all" of the folder.
    cache: where prepared folders live; by default $CINN_JAX_CACHE, or else
      ~/.cache/cinn_jax.
    validation_fraction: expected share of the files held out, in (0, 1).
    max_short_side: larger pictures are scaled down to it, in pixels.
    num_threads: files decoded at a time while preparing; 0: one per core.
    pairs: each is two pictures side by side, see `derived.SideBySide`.

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: it holds no usable image, or another argument is wrong.
  """
  if not 0 < validation_fraction < 1:
    raise ValueError(
      f"validation_fraction is {validation_fraction}, expected above 0, below 1"
    )
  if max_short_side < 1:
    raise ValueError(f"max_short_side is {max_short_side}, expected 1 or more")
  folder = _existing(path)
  finished = preparation.prepare(
    folder, cache_directory(cache), max_short_side, num_threads, pairs=pairs
  )
  digests = [digest for shard in finished for digest in shard.digests]
  start, stop = 0, len(digests)
  if split != "all":
    cut = _first_held_out(digests, validation_fraction)
    start, stop = (0, cut) if split == "train" else (cut, len(digests))
  if start == stop:
    raise ValueError(
      f"{listing.printable(folder)} has no validation image, because all of its"
      " usable images are the same: add others"
    )
  name = f"folder {listing.printable(folder)} ({split}: {stop - start} images)"
  listing_hash = base.hash_of(digests[start:stop])
  reader = shards.Reader(finished)
  return FolderSource(name, reader, start, stop - start, listing_hash)


def cache_directory(cache: str | os.PathLike = "") -> pathlib.Path:
  """The given directory, or $CINN_JAX_CACHE, or ~/.cache/cinn_jax."""
  chosen = cache or os.environ.get("CINN_JAX_CACHE") or "~/.cache/cinn_jax"
  return pathlib.Path(chosen).expanduser().absolute()


def _existing(path):
  folder = os.path.realpath(os.path.expanduser(path))
  if not path or not os.path.exists(folder):
    raise FileNotFoundError(
      f"there is no folder {listing.printable(os.fspath(path))!r}"
    )
  if not os.path.isdir(folder):
    raise ValueError(
      f"{listing.printable(folder)} is a file, expected a folder of images"
    )
  return folder


def _first_held_out(digests, fraction):
  """Where validation begins in digests that are sorted."""
  bits = 4 * 16
  threshold = f"{min(round((1 - fraction) * 2**bits), 2**bits - 1):016x}"
  cut = bisect.bisect_left(digests, threshold)
  first_kind = bisect.bisect_right(digests, digests[0])
  last_kind = bisect.bisect_left(digests, digests[-1])
  if last_kind == 0:
    return len(digests)
  return min(max(cut, first_kind), last_kind)
