"""The trained flows that come with the package, by name.

`cinn_jax/weights/README.md` says what each was trained on.
"""

import os
import pathlib

from cinn_jax.runtime import storage
from cinn_jax.workdir import saved

_FOLDER = pathlib.Path(__file__).parents[1] / "weights"
# Flows and their configs; the folder also has the weights of other networks.
NAMES = {"photographs": "colorize.py:photographs", "mnist": "mnist.py:small"}


def find(path: str | os.PathLike[str]) -> pathlib.Path | None:
  """Returns the file of a shipped flow, or None if `path` does not name one.

  A run's folder or a file of that name takes precedence; a folder of pictures
  does not.
  """
  name = os.fspath(path)
  if name not in NAMES:
    return None
  if storage.path(name).is_file() or saved.is_trained(name):
    return None
  file = _FOLDER / f"{name}.safetensors"
  return file if file.exists() else None


def for_config(
  workdir: str | os.PathLike[str], config: str
) -> str | os.PathLike[str]:
  """Returns the name of a config's shipped flow if there is no run of it yet.

  Args:
    workdir: The run's folder, which is returned if it holds a checkpoint, or a
      file from `--mode=export`, which always is.
    config: Names of the config's file and variant, "colorize.py:photographs".
  """
  if storage.path(workdir).suffix == ".safetensors":
    return workdir
  for name, its_config in NAMES.items():
    if config == its_config:
      if saved.is_trained(workdir):
        print(f"Using the run in {workdir}, not the weights of cinn_jax.")
        return workdir
      print(f"No run in {workdir}: using the weights that come with cinn_jax.")
      return name
  return workdir
