"""The trained flows that come with the package, by name.

`cinn_jax/weights/README.md` says what each was trained on.
"""

import os
import pathlib

from cinn_jax.runtime import storage

_FOLDER = pathlib.Path(__file__).parents[1] / "weights"
# Flows; the folder also has the weights of other networks.
NAMES = ("photographs",)


def find(path: str | os.PathLike[str]) -> pathlib.Path | None:
  """Returns the file of a shipped flow, or None if `path` is no name of one.

  A folder or file of that name comes first.
  """
  if os.fspath(path) not in NAMES or storage.path(path).exists():
    return None
  file = _FOLDER / f"{os.fspath(path)}.safetensors"
  return file if file.exists() else None
