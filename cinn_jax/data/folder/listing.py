"""What is in a folder: its picture files and digests of their contents.

Digests are remembered by a file's size and times, so that a restart only has to
stat the files.
"""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from stat import S_ISDIR

import tqdm

from cinn_jax.images import reading
from cinn_jax.runtime import storage
from cinn_jax.runtime.threads import in_order

Stamp = tuple[int, int, int]  # Size, mtime and ctime in ns.

# Times have a granularity: a file that changed this recently may change again
# and keep its stamp, so its digest is not remembered.
_SETTLED_NS = 2 * 10**9
_APPEND_EVERY = 1000


def find_pictures(folder: str) -> dict[str, os.stat_result | None]:
  """Finds the files with a picture's ending, in a folder and below it.

  Symbolic links are followed, each folder being entered once. Names that begin
  with a dot are ignored.

  Returns:
    Stat results by path relative to the folder, sorted; None for a file that
    is not there (a dangling link).

  Raises:
    ValueError: a subfolder cannot be listed.
  """
  try:
    return dict(sorted(_walk(folder, "", set())))
  except OSError as error:
    path = printable(error.filename)
    raise ValueError(f"cannot list {path}: {error.strerror}") from error


def _walk(folder, relative, entered) -> Iterator:
  here = os.path.join(folder, relative)
  stat = os.stat(here)
  if (stat.st_dev, stat.st_ino) in entered:
    return
  entered.add((stat.st_dev, stat.st_ino))
  with os.scandir(here) as entries:
    entries = sorted(entries, key=lambda entry: entry.name)
  for entry in entries:
    path = os.path.join(relative, entry.name)
    if entry.name.startswith("."):
      continue
    try:
      stat = entry.stat()
    except OSError:  # A link to nowhere, or in a circle.
      stat = None
    if stat and S_ISDIR(stat.st_mode):
      yield from _walk(folder, path, entered)
    elif entry.name.lower().endswith(reading.EXTENSIONS):
      yield path, stat


def digests(
  folder: str,
  files: dict[str, os.stat_result | None],
  memory: pathlib.Path,
  num_threads: int,
) -> dict[str, str]:
  """Digests every file's contents, or remembers them.

  Args:
    folder: absolute path.
    files: as `find_pictures` returns them.
    memory: file of remembered digests; several processes may use it at once.
    num_threads: files read at a time.

  Returns:
    Hexadecimal digests by relative path, in the order of `files`. A file that
    cannot be read has the digest "".
  """
  known, lines = _recall(memory)
  stamps = {path: _stamp(stat) for path, stat in files.items() if stat}
  result = {
    path: known[path][1]
    for path, stamp in stamps.items()
    if path in known and known[path][0] == stamp
  }
  missing = [path for path in stamps if path not in result]
  if lines > 2 * len(result) + _APPEND_EVERY:
    _rewrite(memory, {path: known[path] for path in result})
  fresh = []
  for path, digest in _read_all(folder, missing, num_threads):
    result[path] = digest
    settled = time.time_ns() - max(stamps[path][1:]) > _SETTLED_NS
    if digest and settled:
      fresh.append((path, stamps[path], digest))
    if len(fresh) == _APPEND_EVERY:
      _append(memory, fresh)
      fresh = []
  _append(memory, fresh)
  return {path: result.get(path, "") for path in files}


def content_digest(data: bytes) -> str:
  """The digest of a file's contents, 32 hexadecimal digits."""
  return hashlib.blake2b(data, digest_size=16).hexdigest()


def printable(path: str) -> str:
  """A file name as one line of valid text, whatever bytes it is made of."""
  text = os.fsdecode(path).encode(errors="backslashreplace").decode()
  return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _read_all(folder, paths, num_threads):
  def digest(path):
    try:
      with open(os.path.join(folder, path), "rb") as file:
        hashed = hashlib.file_digest(
          file, lambda: hashlib.blake2b(digest_size=16)
        )
    except OSError:
      return path, ""
    return path, hashed.hexdigest()

  bar = tqdm.tqdm(
    in_order(digest, paths, num_threads, ahead=2 * num_threads),
    desc=f"Reading {printable(os.path.basename(folder))}",
    total=len(paths),
    unit=" files",
    mininterval=0.5,
    disable=not paths,
  )
  with bar:
    yield from bar


def _stamp(stat) -> Stamp:
  return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _recall(memory) -> tuple[dict[str, tuple[Stamp, str]], int]:
  """Remembered stamps and digests by path, and how many lines there were."""
  known, lines = {}, 0
  if not memory.exists():
    return known, lines
  with open(memory, encoding="utf-8") as file:
    for line in file:
      lines += 1
      try:
        path, stamp, digest = json.loads(line)
      except ValueError:
        continue  # Torn by a process that was killed: it is read again.
      known[path] = (tuple(stamp), digest)
  return known, lines


def _append(memory, entries):
  if not entries:
    return
  memory.parent.mkdir(parents=True, exist_ok=True)
  text = "".join(json.dumps(entry) + "\n" for entry in entries)
  # A torn last line must not swallow the first of these.
  with open(memory, "ab", buffering=0) as file:
    file.write(("\n" if file.tell() else "").encode() + text.encode())


def _rewrite(memory, known):
  lines = (
    json.dumps((path, stamp, digest)) + "\n"
    for path, (stamp, digest) in known.items()
  )
  storage.write_whole(memory, "".join(lines).encode())
