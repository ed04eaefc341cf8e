"""A lock for workdirs in buckets, which have no file locks.

A run rewrites the object `lock` at regular intervals, as a sign of life.
Another run that finds it waits for the next change; if there is none for a
while, the first run is gone. Two runs that start at the same moment do not
notice each other.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from cinn_jax.runtime import storage

BEAT_SECONDS = 15
SILENT_SECONDS = 60


@contextlib.contextmanager
def hold_lease(workdir: Any) -> Iterator[None]:
  """Holds a workdir in a bucket until the context ends.

  If an earlier run did not end properly, this waits `SILENT_SECONDS` first.

  Args:
    workdir: A path in a bucket, from `storage.path`.

  Raises:
    OSError: if another run is alive there, or the bucket cannot be written.
  """
  path = workdir / "lock"
  _await_silence(path)
  owner = {"process": os.getpid(), "host": socket.gethostname()}
  done = threading.Event()
  _write(path, {**owner, "signs": 0})
  thread = threading.Thread(target=_beat, args=(path, owner, done), daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    # If it fails, the next run waits a little; the outcome of this one counts.
    with contextlib.suppress(OSError):
      _write(path, {**owner, "ended": True})


def is_alive(workdir: str | os.PathLike[str]) -> bool:
  """Returns whether a run holds the workdir and gave a recent sign of life."""
  path = storage.path(workdir) / "lock"
  record = _read(path)
  if record is None or record.get("ended"):
    return False
  return time.time() - storage.modified(path) < SILENT_SECONDS


def _await_silence(path):
  record = _read(path)
  if record is None or record.get("ended"):
    return
  holder = f"process {record['process']} on {record['host']}"
  print(
    f"{path.parent} is held by {holder}: waiting {SILENT_SECONDS} s for a sign"
    " of life from it.",
    flush=True,
  )
  begin = time.monotonic()
  while time.monotonic() - begin < SILENT_SECONDS:
    time.sleep(BEAT_SECONDS / 10)
    latest = _read(path)
    if latest is None or latest.get("ended"):
      return
    if latest != record:
      raise OSError(
        f"{path.parent} is in use by another run ({holder}): wait for it, stop"
        " it, or pass another --workdir."
      )


def _beat(path, owner, done):
  signs = 0
  while not done.wait(BEAT_SECONDS):
    signs += 1
    # A run should not end because of one failed write.
    with contextlib.suppress(OSError):
      _write(path, {**owner, "signs": signs})


def _write(path, record):
  storage.write_whole(path, json.dumps(record).encode())


def _read(path):
  return json.loads(path.read_text()) if path.exists() else None
