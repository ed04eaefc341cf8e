"""Converts a folder of pictures to shards of small records.

A prepared folder is named after a digest of all files' paths and contents and
of the settings for the records. So a folder that has changed is prepared again,
and one that has not is only checked. Older preparations stay in the cache
directory until someone deletes them.
"""

import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Sequence
from typing import TypeVar

import tqdm
from absl import logging
from PIL import Image

from cinn_jax.data.folder import listing, shards
from cinn_jax.images import formats, reading
from cinn_jax.runtime.threads import in_order

_File = TypeVar("_File")
# Increase it if the same settings lead to different records than before.
_FORMAT = 2
SHARD_FILES = 256
MAX_SHARDS = 128  # Each is an open file while it is read.


def prepare(
  folder: str,
  cache: pathlib.Path,
  max_short_side: int,
  num_threads: int = 0,
  *,
  pairs: bool = False,
) -> list[shards.Shard]:
  """Prepares the parts of a folder that are not prepared yet.

  Args:
    folder: Absolute path of a folder.
    cache: Directory for prepared folders and stored digests.
    max_short_side: Larger pictures are scaled down to it, in pixels.
    num_threads: Files read and decoded at a time; 0 for one per core.
    pairs: Each file has two pictures side by side, so an even width stays even.

  Returns:
    The shards. Their records are in the order of their files' digests.

  Raises:
    ValueError: No file can be used, a file changed in the meantime, or the
      cache cannot be written.
  """
  num_threads = num_threads or os.cpu_count() or 1
  files = listing.find_pictures(folder)
  if not files:
    raise ValueError(
      f"no usable image in {listing.printable(folder)}: no file below it ends"
      f" in one of {' '.join(formats.EXTENSIONS)}"
    )
  try:
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    memory = cache / "digests" / f"{place}.jsonl"
    digests = listing.digests(folder, files, memory, num_threads)
    settings = f"{_FORMAT} {SHARD_FILES} {MAX_SHARDS} {max_short_side}"
    settings += " pairs" if pairs else ""
    directory = cache / "folders" / _key(digests, settings)
    order = sorted(digests.items(), key=lambda item: (item[1], item[0]))
    with shards.lock(directory):
      convert = functools.partial(_convert, folder, max_short_side, pairs)
      result = _all_shards(directory, order, convert, num_threads)
      _report_skipped(folder, directory, result, len(files))
      return result
  except OSError as error:
    raise ValueError(
      f"cannot write the cache {cache} ({error.strerror}): choose another with"
      " CINN_JAX_CACHE"
    ) from error


def split_into_shards(files: Sequence[_File]) -> list[Sequence[_File]]:
  """Splits files into parts of `SHARD_FILES`, but into `MAX_SHARDS` at most."""
  size = max(SHARD_FILES, -(-len(files) // MAX_SHARDS))
  return [files[i : i + size] for i in range(0, len(files), size)]


def _key(digests, settings):
  key = hashlib.blake2b(settings.encode(), digest_size=16)
  for path, digest in sorted(digests.items()):
    key.update(os.fsencode(path) + b"\0" + digest.encode() + b"\n")
  return key.hexdigest()


def _all_shards(directory, order, convert, num_threads):
  parts = split_into_shards(order)
  result = [shards.read_list(directory, i) for i in range(len(parts))]
  done = sum(len(p) for p, s in zip(parts, result, strict=True) if s)
  with tqdm.tqdm(
    desc="Preparing images",
    total=len(order),
    initial=done,
    unit=" files",
    mininterval=0.5,
    disable=done == len(order),
  ) as bar:

    def convert_all(part):
      for picture in in_order(
        convert, part, num_threads, ahead=2 * num_threads
      ):
        yield picture
        bar.update()

    for i, part in enumerate(parts):
      result[i] = result[i] or shards.write(directory, i, convert_all(part))
  return result


def _convert(folder, max_short_side, pairs, item):
  path, digest = item
  full = os.path.join(folder, path)
  try:
    _, data = reading.contents(full)
  except reading.UnreadableImage as error:
    if not digest:
      return path, digest, error
    data = b""
  if listing.content_digest(data) != digest:
    name = listing.printable(full)
    raise ValueError(f"{name} changed while it was being prepared: run again")
  try:
    record = encode_record(data, path, max_short_side, pairs=pairs)
    return path, digest, record
  except reading.UnreadableImage as error:
    return path, digest, error


def encode_record(
  data: bytes, name: str, max_short_side: int, *, pairs: bool = False
) -> bytes:
  """Returns a picture that is quick to read: small, upright and plain.

  Args:
    data: Contents of a picture file.
    name: Name of the file, for error messages.
    max_short_side: Larger pictures are scaled down to it, in pixels.
    pairs: Keep an even width even, so that it can be split in two.

  Returns:
    `data` itself if it is a plain picture that is small enough. Otherwise a
    PNG; or, if it was scaled down, a JPEG of quality 95 with full chroma
    resolution.

  Raises:
    UnreadableImage: The picture cannot be decoded, or is too long to be stored.
  """
  with reading.reasons(name):
    small = min(formats.open_header(data).size) <= max_short_side
    if small and reading.is_plain(data):
      return data
    image = Image.fromarray(reading.decode(data, at_least=2 * max_short_side))
    stream = io.BytesIO()
    scale = max_short_side / min(image.size)
    if scale >= 1:
      image.save(stream, "PNG")
    else:
      width, height = image.size
      parts = 2 if pairs and width % 2 == 0 else 1
      size = (
        parts * max(1, round(width / parts * scale)),
        max(1, round(height * scale)),
      )
      image = image.resize(size, Image.Resampling.LANCZOS)
      # A JPEG has 65,535 pixels on a side at most.
      image.save(stream, "JPEG", quality=95, subsampling="4:4:4")
  return stream.getvalue()


def _report_skipped(folder, directory, all_shards, count):
  """Lists the skipped files in a report, and warns about them."""
  skipped = sorted(entry for shard in all_shards for entry in shard.skipped)
  report = directory / "skipped.txt"
  if skipped and not report.exists():
    lines = (f"{listing.printable(path)}\t{why}\n" for path, why in skipped)
    shards.write_text(report, "".join(lines))
  if len(skipped) == count:
    raise ValueError(
      f"no usable image in {listing.printable(folder)}: none of {count} files"
      f" can be read, see {report}"
    )
  if skipped:
    _warn_once(len(skipped), count, listing.printable(folder), str(report))


@functools.cache
def _warn_once(*details):
  logging.warning(
    "Skipped %d of %d files in %s, which cannot be read as pictures: see %s",
    *details,
  )
