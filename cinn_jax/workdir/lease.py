"""One live run per workdir of a bucket, which has no locks: by signs of life.

A run writes the object `lock` again and again. Another one that finds it waits
for the next sign: where there is none for a while, the first run is gone. Two
that start at the same moment do not see each other.
"""

import contextlib
import json
import os
import socket
import threading
import time

from cinn_jax.runtime import storage

BEAT_SECONDS = 15
SILENT_SECONDS = 60


@contextlib.contextmanager
def leased(workdir):
  """Holds the workdir of a bucket until the context ends.

  A run that was killed is waited for, `SILENT_SECONDS`.

  Raises:
    OSError: where another run is alive there, or nothing can be written.
  """
  path = workdir / "lock"
  _await_silence(path)
  mine = {"process": os.getpid(), "host": socket.gethostname()}
  done = threading.Event()
  _write(path, {**mine, "signs": 0})
  thread = threading.Thread(target=_live, args=(path, mine, done), daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    _write(path, {**mine, "ended": True})


def is_alive(workdir) -> bool:
  """Whether a run holds the workdir and gave a sign of life of late."""
  path = storage.path(workdir) / "lock"
  told = _read(path)
  if told is None or told.get("ended"):
    return False
  return time.time() - storage.modified(path) < SILENT_SECONDS


def _await_silence(path):
  told = _read(path)
  if told is None or told.get("ended"):
    return
  who = f"process {told['process']} on {told['host']}"
  print(
    f"{path.parent} was held by {who}: waiting {SILENT_SECONDS} s for a sign of"
    " life of it.",
    flush=True,
  )
  begin = time.monotonic()
  while time.monotonic() - begin < SILENT_SECONDS:
    time.sleep(BEAT_SECONDS / 10)
    now = _read(path)
    if now is None or now.get("ended"):
      return
    if now != told:
      raise OSError(
        f"{path.parent} is in use by another run ({who}): wait for it, stop it,"
        " or pass another --workdir."
      )


def _live(path, mine, done):
  signs = 0
  while not done.wait(BEAT_SECONDS):
    signs += 1
    # One that does not get through is no reason to end a run.
    with contextlib.suppress(OSError):
      _write(path, {**mine, "signs": signs})


def _write(path, told):
  storage.write_whole(path, json.dumps(told).encode())


def _read(path):
  return json.loads(path.read_text()) if path.exists() else None
