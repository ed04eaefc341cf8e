"""A folder of compiled programs, which makes the next start quick."""

import contextlib
import importlib
import itertools
import os
import pathlib
import socket
import time

import jax

# Modules that decompress an entry, by its first bytes. JAX prefers zstandard.
_MODULES = {
  b"\x28\xb5\x2f\xfd": ("compression.zstd", "zstandard"),
  b"\x78": ("zlib",),
}
# A file whose time says when the entries were last checked.
_MARK = "checked"


def keep(folder: str | os.PathLike[str]) -> None:
  """Keeps programs that are compiled from now on in a folder.

  Does nothing if `folder` is empty, or if JAX has a cache folder already
  (`JAX_COMPILATION_CACHE_DIR`).

  A process that is killed can leave half an entry. JAX compiles such a program
  again at every start, with a warning, and never replaces the entry. So entries
  that are new since the last start are checked, and damaged ones deleted.
  """
  if not folder or getattr(jax.config, "jax_compilation_cache_dir", None):
    return
  # One folder per machine: a program for one CPU may not run on another.
  own = pathlib.Path(folder).expanduser() / socket.gethostname()
  if own.is_dir():
    _delete_damaged(own)
  jax.config.update("jax_compilation_cache_dir", str(own))


def _delete_damaged(folder):
  mark, now = folder / _MARK, time.time()
  since = mark.stat().st_mtime if mark.exists() else 0
  for entry in folder.glob("*-cache"):
    # Other processes may delete the same entry, and it may be another user's.
    try:
      if entry.stat().st_mtime >= since and not _is_whole(entry.read_bytes()):
        entry.unlink()
    except OSError:
      continue
  with contextlib.suppress(OSError):
    mark.touch()
    os.utime(mark, (now, now))


def _is_whole(data):
  """Tells if an entry decompresses; an unknown format counts as whole."""
  if not data:
    return False
  kinds = [names for magic, names in _MODULES.items() if data.startswith(magic)]
  for name in itertools.chain(*kinds):
    try:
      decompress = importlib.import_module(name).decompress
    except ImportError:
      continue
    try:
      decompress(data)
    except Exception:  # Each module has error types of its own.
      return False
    return True
  return True
