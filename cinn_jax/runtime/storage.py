"""Files of a run, in a local folder or in a folder of a bucket (gs://).

A bucket holds objects, each written whole or not at all. It has no appending,
no renaming and no locks, and its folders are only parts of names. Code that
uses this module must not rely on any of these in a bucket.
"""

import contextlib
import functools
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

from cinn_jax.runtime import extras

_SCHEME = "gs://"


def path(place: str | os.PathLike[str]) -> Any:
  """Returns a path as a `pathlib.Path`, or as an `epath.Path` for gs://.

  `~` is the home folder.

  Callers use what both have: `/`, `name`, `parent`, `exists`, `iterdir`, and
  reading a whole file. To write one, use `write_whole`.

  Raises:
    ValueError: for a scheme other than gs://, or without the extra `gcs`.
    OSError: if the bucket cannot be reached.
  """
  text = os.fspath(place)
  if "://" not in text:
    return pathlib.Path(os.path.expanduser(text))
  bucket, _, _ = text.removeprefix(_SCHEME).partition("/")
  if not text.startswith(_SCHEME) or not bucket:
    raise ValueError(
      f"{text!r} is not a supported path: expected a folder, or"
      f" {_SCHEME}BUCKET/FOLDER."
    )
  return _bucket_paths(bucket)(text)


def in_bucket(place: str | os.PathLike[str]) -> bool:
  """Tells if a path lies in a bucket."""
  return os.fspath(place).startswith(_SCHEME)


@functools.cache
def _bucket_paths(bucket):
  """Returns the class of paths in buckets, once this bucket was reached."""
  try:
    import fsspec
    import gcsfs  # noqa: F401, fsspec and Orbax reach buckets through it
    from etils import epath
  except ImportError as error:
    raise ValueError(
      f"{_SCHEME}{bucket} needs the extra `gcs` ({error}):"
      f" {extras.how_to_get('gcs')}."
    ) from None
  # etils would otherwise go through TensorFlow if it is installed.
  os.environ["EPATH_USE_TF"] = "false"
  # A cached listing would miss files that other processes have written since.
  fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
  try:
    exists = epath.Path(_SCHEME + bucket).exists()
  except Exception as error:  # Network, credentials: there is no common type.
    raise OSError(f"Cannot reach {_SCHEME}{bucket} ({error}).") from error
  if not exists:
    raise FileNotFoundError(
      f"There is no bucket {_SCHEME}{bucket}, or this account cannot see it."
    )
  return epath.Path


def write_whole(
  place: str | os.PathLike[str], data: bytes, *, flush: bool = False
) -> None:
  """Writes a file whole or not at all, and creates its folders.

  Args:
    place: Path of the file, local or in a bucket.
    data: Content of the file.
    flush: Wait until a local file is on the disk, see `replacing`.

  Raises:
    OSError: if it cannot be written.
  """
  target = path(place)
  if in_bucket(target):
    try:
      target.write_bytes(data)
    except Exception as error:  # As in `_bucket_paths`.
      raise OSError(f"{target} could not be written ({error}).") from error
    return
  with replacing(target, flush=flush) as part:
    part.write_bytes(data)


@contextlib.contextmanager
def replacing(
  target: pathlib.Path, *, flush: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a temporary path, whose file replaces a local file at the end.

  If the block raises, `target` stays as it was. The temporary file is named
  `.*.part`; only a killed process leaves one behind.

  Args:
    target: Path of the file; its folders are created.
    flush: Wait until the file and its name are on the disk, so that it is whole
      even after a power cut.
  """
  target.parent.mkdir(parents=True, exist_ok=True)
  # In the same folder, because a rename is only atomic within a file system.
  # It does not contain the target's name, which may be as long as is allowed.
  part = target.with_name(f".{uuid.uuid4().hex}.part")
  try:
    yield part
    if flush:
      _flush(part)
    os.replace(part, target)
    if flush:
      _flush(target.parent)
  finally:
    part.unlink(missing_ok=True)


def _flush(place):
  handle = os.open(place, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


def upload(
  folder: str | os.PathLike[str], place: str | os.PathLike[str]
) -> None:
  """Copies all files of a local folder to another folder or to a bucket."""
  source, target = pathlib.Path(folder), path(place)
  for file in sorted(source.rglob("*")):
    if file.is_file():
      write_whole(
        target / file.relative_to(source).as_posix(), file.read_bytes()
      )


def move(
  source: str | os.PathLike[str], target: str | os.PathLike[str]
) -> None:
  """Moves a folder to a path that does not exist yet.

  In a bucket it is copied, then deleted. If that is interrupted, some of it is
  in both places.
  """
  old, new = path(source), path(target)
  if in_bucket(old):
    import fsspec

    files = fsspec.filesystem("gs")
    files.copy(str(old), str(new), recursive=True)
    files.rm(str(old), recursive=True)
  else:
    new.parent.mkdir(parents=True, exist_ok=True)
    old.rename(new)


def modified(place: str | os.PathLike[str]) -> float:
  """Returns when a file was last written, in seconds since 1970."""
  stat = path(place).stat()
  return stat.mtime if in_bucket(place) else stat.st_mtime
