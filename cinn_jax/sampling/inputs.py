"""The files that `--inputs` names, and names for their results."""

import glob
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from cinn_jax.images import formats
from cinn_jax.runtime import storage


class Item(NamedTuple):
  """One picture or class to draw samples for.

  Attributes:
    name: Name of its results, possibly with a subfolder, "a/b".
    path: Its file; None for a class or a picture of the test split.
    first: Number of its first sample.
    more: Further files that its results depend on.
  """

  name: str
  path: str | None = None
  first: int = 0
  more: tuple[str, ...] = ()


def find(
  inputs: Sequence[str],
  *,
  outputs: str | os.PathLike = "",
  recursive: bool = False,
) -> list[Item]:
  """Finds the files that --inputs names, each once.

  A path that exists is taken literally, whatever characters it has. A folder
  means the pictures in it, and with `recursive` also those in its subfolders,
  whose names appear in the results. Anything else is a glob pattern, in which
  ** matches folders. `~` is the home folder.

  Args:
    inputs: Paths, folders and patterns.
    outputs: Folder for results. Files in it are not taken as inputs, unless an
      input names that folder itself.
    recursive: Takes subfolders too, see above.

  Raises:
    ValueError: if `inputs` is empty.
    FileNotFoundError: if a path or pattern matches no file.
  """
  if not inputs:
    raise ValueError("--mode=sample needs --inputs='photos/*.jpg'.")
  found: dict[str, str] = {}
  known: set[str] = set()
  for text in inputs:
    place = os.path.expanduser(text)
    if os.path.isfile(place):
      matches = {place: pathlib.Path(place).stem}
    elif os.path.isdir(place):
      matches = _in_folder(place, outputs, recursive)
    else:
      matches = _by_pattern(place, outputs)
    if not matches:
      raise FileNotFoundError(
        f"No file matches --inputs={text!r}: pass a path, a folder of pictures"
        " or a quoted pattern such as 'photos/*.jpg'."
      )
    for path, stem in sorted(matches.items()):
      if (place := os.path.abspath(path)) not in known:
        known.add(place)
        found[path] = stem
  names = _unique(found.values())
  return [Item(name, path) for name, path in zip(names, found, strict=True)]


def _in_folder(folder, outputs, recursive):
  root = pathlib.Path(folder)
  paths = root.rglob("*") if recursive else root.iterdir()
  return {
    str(path): path.relative_to(root).with_suffix("").as_posix()
    for path in paths
    if path.name.lower().endswith(formats.EXTENSIONS)
    and path.is_file()
    and not any(part.startswith(".") for part in path.relative_to(root).parts)
    and not _below(path, outputs, root)
  }


def _by_pattern(pattern, outputs):
  # The folder in which the pattern starts: the longest part that exists.
  parts = pathlib.Path(pattern).parts
  starts = (parts[:k] for k in range(len(parts) - 1, 0, -1))
  first = next((s for s in starts if pathlib.Path(*s).is_dir()), ())
  root = pathlib.Path(*first)
  rest = parts[len(first) :]
  pattern = os.path.join(glob.escape(str(root)) if first else "", *rest)
  return {
    path: pathlib.Path(path).stem
    for path in glob.glob(pattern, recursive=True)
    if os.path.isfile(path) and not _below(path, outputs, root)
  }


def _below(path, outputs, root):
  """Tells if a file is in the results' folder, unless inputs start there."""
  if not outputs or storage.in_bucket(outputs):
    return False
  results = storage.path(outputs).resolve()
  if results == root.resolve():
    return False
  return results in pathlib.Path(path).resolve().parents


def _unique(stems):
  """Numbers the stems that several files share, ignoring case."""
  names: list[str] = []
  taken: set[str] = set()
  for stem in stems:
    numbered = (f"{stem}-{k}" for k in itertools.count(2))
    candidates = itertools.chain([stem], numbered)
    name = next(c for c in candidates if c.casefold() not in taken)
    names.append(name)
    taken.add(name.casefold())
  return names
