"""The picture files of a folder, and digests of their contents.

Digests are stored with the file's size and times, so that a restart only needs
the file's status and does not read it again.
"""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from stat import S_ISDIR

import tqdm

from cinn_jax.images import formats
from cinn_jax.runtime import storage
from cinn_jax.runtime.threads import in_order

Stamp = tuple[int, int, int]  # Size, mtime and ctime in ns.

# Time stamps are coarse. A file that changed less than this long ago may change
# again and keep its stamp, so its digest is not stored yet.
SETTLED_NS = 2 * 10**9
_APPEND_EVERY = 1000


def find_pictures(folder: str) -> dict[str, os.stat_result | None]:
  """Finds the files with a picture's extension, in a folder and below it.

  Symbolic links are followed, but each folder is entered only once. Names that
  begin with a dot are ignored.

  Args:
    folder: Path of the folder.

  Returns:
    Stat results by path relative to the folder, sorted. A dangling link has
    None.

  Raises:
    ValueError: A subfolder cannot be listed.
  """
  try:
    return dict(sorted(_walk(folder, "", set())))
  except OSError as error:
    path = printable(error.filename)
    raise ValueError(f"cannot list {path}: {error.strerror}") from error


def _walk(
  folder: str, relative: str, visited: set[tuple[int, int]]
) -> Iterator[tuple[str, os.stat_result | None]]:
  here = os.path.join(folder, relative)
  status = os.stat(here)
  if (status.st_dev, status.st_ino) in visited:
    return
  visited.add((status.st_dev, status.st_ino))
  with os.scandir(here) as scan:
    entries = sorted(scan, key=lambda entry: entry.name)
  for entry in entries:
    path = os.path.join(relative, entry.name)
    if entry.name.startswith("."):
      continue
    try:
      stat = entry.stat()
    except OSError:  # A dangling link, or links in a circle.
      stat = None
    if stat and S_ISDIR(stat.st_mode):
      yield from _walk(folder, path, visited)
    elif entry.name.lower().endswith(formats.EXTENSIONS):
      yield path, stat


def digests(
  folder: str,
  files: dict[str, os.stat_result | None],
  memory: pathlib.Path,
  num_threads: int,
) -> dict[str, str]:
  """Returns the digests of all files' contents, from `memory` if possible.

  Args:
    folder: Absolute path of the folder.
    files: The result of `find_pictures`.
    memory: File of stored digests. Several processes may use it at once.
    num_threads: Number of files read at a time.

  Returns:
    Hexadecimal digests by relative path, in the order of `files`. A file that
    cannot be read has the digest "".
  """
  known, lines = _load(memory)
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
    is_settled = time.time_ns() - max(stamps[path][1:]) > SETTLED_NS
    if digest and is_settled:
      fresh.append((path, stamps[path], digest))
    if len(fresh) == _APPEND_EVERY:
      _append(memory, fresh)
      fresh = []
  _append(memory, fresh)
  return {path: result.get(path, "") for path in files}


def content_digest(data: bytes) -> str:
  """Returns the digest of a file's contents, 32 hexadecimal digits."""
  return hashlib.blake2b(data, digest_size=16).hexdigest()


def printable(path: str) -> str:
  """Returns a file name as one line of valid text, whatever its bytes are."""
  text = os.fsdecode(path).encode(errors="backslashreplace").decode()
  return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _read_all(folder, paths, num_threads):
  def digest(path):
    try:
      with open(os.path.join(folder, path), "rb") as file:
        blake2b = hashlib.file_digest(
          file, lambda: hashlib.blake2b(digest_size=16)
        )
    except OSError:
      return path, ""
    return path, blake2b.hexdigest()

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


def _load(memory: pathlib.Path) -> tuple[dict[str, tuple[Stamp, str]], int]:
  """Returns the stored (stamp, digest) by path, and the number of lines."""
  known: dict[str, tuple[Stamp, str]] = {}
  lines = 0
  if not memory.exists():
    return known, lines
  with open(memory, encoding="utf-8") as file:
    for line in file:
      lines += 1
      try:
        path, stamp, digest = json.loads(line)
      except ValueError:
        continue  # Cut off when a process was killed: its file is read again.
      known[path] = (tuple(stamp), digest)
  return known, lines


def _append(memory, entries):
  if not entries:
    return
  memory.parent.mkdir(parents=True, exist_ok=True)
  text = "".join(json.dumps(entry) + "\n" for entry in entries)
  # The newline keeps a last line that was cut off apart from the first of ours.
  with open(memory, "ab", buffering=0) as file:
    file.write(("\n" if file.tell() else "").encode() + text.encode())


def _rewrite(memory, known):
  lines = (
    json.dumps((path, stamp, digest)) + "\n"
    for path, (stamp, digest) in known.items()
  )
  storage.write_whole(memory, "".join(lines).encode())
