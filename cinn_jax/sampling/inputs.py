"""What --inputs names: files that match a pattern, and names for results."""

import glob
import itertools
import pathlib
from collections.abc import Sequence


def find(inputs: str | None) -> list[str]:
  """The files that match a glob pattern, sorted; ** matches folders.

  Raises:
    ValueError: without a pattern.
    FileNotFoundError: where no file matches.
  """
  if not inputs:
    raise ValueError("--mode=sample needs --inputs='photos/*.jpg'.")
  paths = sorted(
    path
    for path in glob.glob(inputs, recursive=True)
    if pathlib.Path(path).is_file()
  )
  if not paths:
    raise FileNotFoundError(
      f"No file matches --inputs={inputs!r}: pass a path or a quoted pattern"
      " such as 'photos/*.jpg'."
    )
  return paths


def unique_names(paths: Sequence[str]) -> list[str]:
  """Stems, numbered where several files have the same."""
  names = []
  for path in paths:
    stem = pathlib.Path(path).stem
    numbered = (f"{stem}-{k}" for k in itertools.count(2))
    candidates = itertools.chain([stem], numbered)
    names.append(next(name for name in candidates if name not in names))
  return names
