"""One live run per workdir."""

import contextlib
import errno
import fcntl
import json
import os
import socket

from cinn_jax.runtime import processes, storage
from cinn_jax.workdir import lease


@contextlib.contextmanager
def locked(workdir):
  """Holds the workdir, making it where it is missing, until the context ends.

  The system lets go of the lock with the process, however that ends. Of several
  processes the first holds it for all. In a bucket, see `lease`.

  Raises:
    OSError: where another process holds it, or the folder cannot be written.
  """
  if not processes.is_first():
    yield
    return
  workdir = storage.path(workdir)
  if storage.in_bucket(workdir):
    with lease.leased(workdir):
      yield
    return
  path = workdir / "lock"
  try:
    workdir.mkdir(parents=True, exist_ok=True)
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


def holder(workdir) -> str:
  """Which process holds the workdir, or did last, in words."""
  try:
    told = json.loads((storage.path(workdir) / "lock").read_text())
  except (OSError, ValueError):
    return "which has not told who it is yet"
  return f"process {told['process']} on {told['host']}"


def is_held(workdir) -> bool:
  """Whether a live run holds the workdir."""
  workdir = storage.path(workdir)
  if storage.in_bucket(workdir):
    return lease.is_alive(workdir)
  try:
    with (workdir / "lock").open() as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except FileNotFoundError:
    return False
  except OSError as error:
    if error.errno in (errno.EAGAIN, errno.EACCES):
      return True
    raise
  return False
