"""Prepared pictures on disk, in array_record shards that are always complete.

A shard consists of two files: the records, and a JSON list that describes them.
Each is written under another name, flushed to the disk and renamed, the list
last. A shard is valid if it has a list that agrees with the size of the
records. So a process that is killed loses only the shard that it was writing.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator

from absl import logging
from array_record.python import array_record_data_source, array_record_module

from cinn_jax.images import reading
from cinn_jax.runtime import storage


@dataclasses.dataclass(frozen=True)
class Shard:
  """A complete shard.

  Attributes:
    path: Path of the records.
    digests: Content digest of each record's file, in order.
    skipped: (path, reason) of each file that was left out.
  """

  path: pathlib.Path
  digests: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]


def read_list(directory: pathlib.Path, index: int) -> Shard | None:
  """Returns the shard with a number, or None if it is missing or broken."""
  path = directory / f"{index:05d}.array_record"
  try:
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if path.stat().st_size != content["bytes"]:
      return None
  except (FileNotFoundError, ValueError):
    return None
  skipped = tuple((name, reason) for name, reason in content["skipped"])
  return Shard(path, tuple(content["digests"]), skipped)


def write(
  directory: pathlib.Path,
  index: int,
  pictures: Iterable[tuple[str, str, bytes | reading.UnreadableImage]],
) -> Shard:
  """Writes a shard.

  Args:
    directory: Directory of the prepared folder.
    index: Number of the shard.
    pictures: (path, digest, record) of each file, in order. A record is either
      an encoded picture, or the `UnreadableImage` that explains why there is
      none.

  Raises:
    OSError: The files cannot be written.
  """
  path = directory / f"{index:05d}.array_record"
  digests, skipped = [], []

  def records():
    for name, digest, record in pictures:
      if isinstance(record, reading.UnreadableImage):
        skipped.append((name, record.reason))
      else:
        digests.append(digest)
        yield record

  write_records(path, records())
  size = path.stat().st_size
  content = {"bytes": size, "digests": digests, "skipped": skipped}
  write_text(path.with_suffix(".json"), json.dumps(content))
  return Shard(path, tuple(digests), tuple(skipped))


def write_records(path: pathlib.Path, records: Iterable[bytes]) -> None:
  """Writes an array_record file, whole or not at all."""
  with (
    storage.replacing(path, flush=True) as part,
    _writer(part) as append,
  ):
    for record in records:
      append(record)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file, whole or not at all."""
  storage.write_whole(path, text.encode(), flush=True)


@contextlib.contextmanager
def lock(directory: pathlib.Path) -> Iterator[None]:
  """Creates a directory, and lets one process at a time work in it."""
  directory.mkdir(parents=True, exist_ok=True)
  with open(directory / "lock", "wb") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      logging.info("Waiting for the process that prepares %s.", directory)
      fcntl.flock(file, fcntl.LOCK_EX)
    # Left by processes that were killed: a running one would hold the lock.
    for temporary in directory.glob(".*.part"):
      temporary.unlink(missing_ok=True)
    yield


class Reader:
  """Random access to the records of complete shards, from any thread."""

  def __init__(self, shards: list[Shard]) -> None:
    self._shards = [shard for shard in shards if shard.digests]
    self._records = array_record_data_source.ArrayRecordDataSource(
      [f"{shard.path}[0:{len(shard.digests)}]" for shard in self._shards]
    )

  def __getitem__(self, index: int) -> bytes:
    try:
      return self._records[index]
    except RuntimeError as error:
      path = self._path(index)
      raise reading.UnreadableImage(
        str(path), "damaged: delete it, and the next start prepares it again"
      ) from error

  def _path(self, index):
    for shard in self._shards:
      if index < len(shard.digests):
        return shard.path
      index -= len(shard.digests)
    raise IndexError(index)


@contextlib.contextmanager
def _writer(path):
  """Yields a function that appends a record; raises OSError for a full disk."""
  # The pictures are compressed already. Groups of one make random access fast.
  writer = array_record_module.ArrayRecordWriter(
    str(path), "group_size:1,uncompressed"
  )

  def attempt(call, *arguments):
    try:
      call(*arguments)
    except RuntimeError as error:
      raise OSError(errno.EIO, str(error)) from error

  try:
    yield functools.partial(attempt, writer.write)
  finally:
    attempt(writer.close)
