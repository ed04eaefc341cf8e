"""Rows of finished runs in a JSON file that several processes share."""

import contextlib
import fcntl
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from cinn_jax.runtime import storage

Row = dict[str, Any]


def read(path: pathlib.Path) -> list[Row]:
  """Returns the rows of a file; none if it does not exist."""
  return json.loads(path.read_text()) if path.exists() else []


def append(path: pathlib.Path, row: Row, key: Callable[[Row], Any]) -> None:
  """Adds a row, even if other processes add rows at the same time.

  It replaces an older row with the same key. Rows are sorted by their keys.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with _locked(path.with_suffix(".lock")):
    rows = [old for old in read(path) if key(old) != key(row)]
    lines = [
      json.dumps(each, allow_nan=False)
      for each in sorted([*rows, row], key=key)
    ]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    storage.write_whole(path, text.encode())


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
