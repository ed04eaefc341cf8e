"""The results of `--mode=calibrate`: a file next to the run."""

import importlib.metadata
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from cinn_jax.runtime import storage
from cinn_jax.workdir import shipped
from cinn_jax.workdir.results_folder import results_folder

NAME = "calibration.json"
# The folder of its pictures.
PICTURES = "calibration"
_PROGRAM = "cinn_jax calibration"


def write(place: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes the file into a folder."""
  versions = {
    name: importlib.metadata.version(name) for name in ("jax", "numpy")
  }
  whole = {"program": _PROGRAM, **content, "versions": versions}
  text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
  storage.write_whole(place / NAME, (text + "\n").encode())


def read(
  workdir: str | os.PathLike[str], place: str | os.PathLike[str] | None = None
) -> dict[str, Any] | None:
  """Reads the calibration of a run; returns None if it has none.

  A flow that comes with the package has one next to its weights, unless it was
  calibrated here.

  Args:
    workdir: The run, as `restore` takes it.
    place: The folder of its results, if it is not that of `results_folder`.

  Raises:
    ValueError: for a file that is not from `write`.
  """
  path = results_folder(place or workdir) / NAME
  if not path.exists() and (file := shipped.find(workdir)):
    path = file.with_suffix(".calibration.json")
  if not path.exists():
    return None
  try:
    content = json.loads(path.read_bytes())
  except ValueError:
    content = None
  if not isinstance(content, dict) or content.get("program") != _PROGRAM:
    raise ValueError(
      f"{path} is not a calibration of this program: run --mode=calibrate"
      " again."
    )
  return content
