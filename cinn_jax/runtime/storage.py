"""Where a run's files live: in a folder, or in a folder of a bucket (gs://).

A bucket holds objects, each written whole or not at all. It has no appending,
no renaming and no locks, and its folders are parts of names: nothing here or in
what uses it relies on them there.
"""

import functools
import os
import pathlib
import uuid

_SCHEME = "gs://"


def path(place):
  """The path of a file or folder: a `pathlib.Path`, or `epath.Path` of gs://.

  What is used of both: `/`, `name`, `parent`, `exists`, `iterdir`, and reading
  a file as a whole. To write, see `write_whole`.

  Raises:
    ValueError: for another scheme than gs://, or without the extra `gcs`.
    OSError: where the bucket cannot be reached.
  """
  text = os.fspath(place)
  if "://" not in text:
    return pathlib.Path(text)
  bucket, _, _ = text.removeprefix(_SCHEME).partition("/")
  if not text.startswith(_SCHEME) or not bucket:
    raise ValueError(
      f"{text!r} is no place for files: expected a folder, or"
      f" {_SCHEME}BUCKET/FOLDER."
    )
  return _buckets(bucket)(text)


def in_bucket(place) -> bool:
  """Whether a path lies in a bucket."""
  return os.fspath(place).startswith(_SCHEME)


@functools.cache
def _buckets(bucket):
  """The class of paths in buckets, once this one is known to be there."""
  try:
    import fsspec
    import gcsfs  # noqa: F401, what fsspec and Orbax reach buckets by
    from etils import epath
  except ImportError as error:
    raise ValueError(
      f"{_SCHEME}{bucket} needs the extra `gcs` ({error}): pip install"
      " '.[gcs]'."
    ) from None
  # By TensorFlow, where it happens to be installed, would be another way.
  os.environ["EPATH_USE_TF"] = "false"
  # A list kept from before does not have what other processes wrote since.
  fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
  try:
    exists = epath.Path(_SCHEME + bucket).exists()
  except Exception as error:  # Of the network, of credentials: of any kind.
    raise OSError(f"Cannot reach {_SCHEME}{bucket} ({error}).") from error
  if not exists:
    raise FileNotFoundError(
      f"There is no bucket {_SCHEME}{bucket}, or not for this account."
    )
  return epath.Path


def write_whole(place, data: bytes):
  """Writes a file, with its folders, whole or not at all.

  Raises:
    OSError: where it cannot be written.
  """
  target = path(place)
  if in_bucket(target):
    try:
      target.write_bytes(data)
    except Exception as error:  # As in `_buckets`.
      raise OSError(f"{target} could not be written ({error}).") from error
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  # Beside the target: only within a file system is a rename atomic.
  part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
  try:
    part.write_bytes(data)
    os.replace(part, target)
  finally:
    part.unlink(missing_ok=True)


def upload(folder, place):
  """Copies all files of a local folder into another one, or into a bucket."""
  folder, place = pathlib.Path(folder), path(place)
  for file in sorted(folder.rglob("*")):
    if file.is_file():
      write_whole(
        place / file.relative_to(folder).as_posix(), file.read_bytes()
      )


def move(source, target):
  """Moves a folder to where nothing is yet.

  In a bucket it is copied, then deleted: where that is interrupted, some of it
  is in both places.
  """
  source, target = path(source), path(target)
  if in_bucket(source):
    import fsspec

    files = fsspec.filesystem("gs")
    files.copy(str(source), str(target), recursive=True)
    files.rm(str(source), recursive=True)
  else:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def modified(place) -> float:
  """When a file was written last, in seconds since 1970."""
  stat = path(place).stat()
  return stat.mtime if in_bucket(place) else stat.st_mtime
