"""A lock that keeps a second run out of a workdir, which processes share."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import jax

from cinn_jax.runtime import processes, storage
from cinn_jax.workdir import lease

_NFS_SECONDS = 90


@contextlib.contextmanager
def hold_lock(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds the workdir until the context ends, and creates it if needed.

  The operating system releases the lock when the process ends, however it ends.
  In a run with several processes, the first one holds it for all. For buckets,
  see `lease`.

  Raises:
    OSError: if another run holds it, or the folder cannot be written.
  """
  if not processes.is_first():
    yield
    return
  folder = storage.path(workdir)
  if storage.in_bucket(folder):
    with lease.hold_lease(folder):
      yield
    return
  path = folder / "lock"
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
  except OSError as error:
    raise OSError(
      f"Cannot write in {workdir} ({error.strerror}): pass another --workdir."
    ) from None
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno not in (errno.EAGAIN, errno.EACCES):
        raise OSError(f"Cannot lock {path} ({error.strerror}).") from None
      raise OSError(
        f"{workdir} is in use by another run ({holder(workdir)}): wait for it,"
        " stop it, or pass another --workdir."
      ) from None
    file.truncate(0)
    json.dump({"process": os.getpid(), "host": socket.gethostname()}, file)
    file.flush()
    yield


def check_shared(folder: Any) -> None:
  """Raises ValueError unless all processes of a run see the same folder.

  Otherwise they would wait for each other at the first checkpoint, for ever.

  Args:
    folder: The workdir, from `storage.path`, in every process.
  """
  if jax.process_count() == 1:
    return
  # A new name each time, which no node can have cached.
  place = folder / f".shared-{processes.same_number()}"
  if processes.is_first():
    storage.write_whole(place, b"")
  processes.agree(True)  # It has been written.
  # NFS shows new files after up to a minute.
  until = time.monotonic() + _NFS_SECONDS
  while not (is_seen := place.exists()) and time.monotonic() < until:
    time.sleep(0.5)
  is_shared = processes.agree(is_seen)
  if processes.is_first():
    place.unlink()
  if not is_shared:
    raise ValueError(
      f"{folder} is not one folder for all processes: pass a --workdir on a"
      " file system that they share, or gs://BUCKET/FOLDER."
    )


def holder(workdir: str | os.PathLike[str]) -> str:
  """Returns, in words, the process that holds the workdir or held it last."""
  try:
    record = json.loads((storage.path(workdir) / "lock").read_text())
  except (OSError, ValueError):
    return "unknown process"
  return f"process {record['process']} on {record['host']}"


def is_held(workdir: str | os.PathLike[str]) -> bool:
  """Returns whether a live run holds the workdir."""
  folder = storage.path(workdir)
  if storage.in_bucket(folder):
    return lease.is_alive(folder)
  try:
    with (folder / "lock").open() as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except (FileNotFoundError, NotADirectoryError):
    return False
  except OSError as error:
    if error.errno in (errno.EAGAIN, errno.EACCES):
      return True
    raise
  return False
