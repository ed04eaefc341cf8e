"""The folder of a run's results: tables, pictures and reports."""

import os
import pathlib

from cinn_jax.runtime import storage

_SUFFIX = ".safetensors"


def results_folder(run: str | os.PathLike[str]) -> pathlib.Path:
  """Returns the folder of a run's results.

  Args:
    run: A workdir, whose results lie in it, or a file from `--mode=export`,
      whose results lie in a folder of its name, without the suffix.
  """
  place = storage.path(run)
  return place.with_suffix("") if place.suffix == _SUFFIX else place
