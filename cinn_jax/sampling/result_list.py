"""samples.json: the list of the samples in a folder."""

import hashlib
import json
import os
import pathlib
from typing import Any

from cinn_jax.runtime import storage
from cinn_jax.sampling.inputs import Item

LIST = "samples.json"
_PROGRAM = "cinn_jax samples"


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the list of a folder; {} if there is none.

  Raises:
    ValueError: if it is of another program.
  """
  path = folder / LIST
  try:
    content = json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except (OSError, ValueError) as error:
    content = {"program": str(error)}
  if not isinstance(content, dict) or content.get("program") != _PROGRAM:
    raise ValueError(
      f"{path} is not a list of samples that this version wrote: choose"
      " another --outputs, or move it away."
    )
  return content


def write(folder: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes the list into a folder, whole or not at all."""
  text = json.dumps(
    {"program": _PROGRAM, **content}, indent=1, ensure_ascii=False
  )
  # Names of files need not be UTF-8. JSON reads the escapes as it wrote them.
  data = text.encode(errors="backslashreplace")
  storage.write_whole(folder / LIST, data)


def files_of(entry: dict[str, Any]) -> list[str]:
  """Returns the names of all files of an entry of the list."""
  more = [entry["odds"]["file"]] if "odds" in entry else []
  return [*entry["files"], *more]


def place_of(item: Item) -> str | None:
  """Returns the absolute path of an item's file, if it has one."""
  return None if item.path is None else os.path.abspath(item.path)


def digest_of(item: Item) -> str | None:
  """Returns a digest of all files that an item depends on, None without any."""
  if item.path is None:
    return None
  digest = hashlib.sha256()
  for path in (item.path, *item.more):
    digest.update(pathlib.Path(path).read_bytes())
  return digest.hexdigest()[:32]
