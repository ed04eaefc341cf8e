"""Observations and reference posteriors in the archive sbibm.zip."""

import bz2
import io
import pathlib
import tempfile
import zipfile
from typing import NamedTuple

import numpy as np

from cinn_jax.runtime.unpickling import load_torch

NUM_OBSERVATIONS = 10


class Reference(NamedTuple):
  """One observation and its posterior.

  Attributes:
    x: The observation [data_dim].
    truth: Parameters [dim] of its simulation.
    samples: Draws [10,000, dim] of its posterior.
  """

  x: np.ndarray
  truth: np.ndarray
  samples: np.ndarray


def read(data: pathlib.Path, task: str, number: int) -> Reference:
  """Reads observation `number`, 1 to 10, of a task.

  Raises:
    FileNotFoundError: if the archive does not exist or lacks the observation.
  """
  with _open(data) as archive:

    def table(name):
      path = f"{task}/num_observation_{number}/{name}"
      try:
        content = archive.read(path)
      except KeyError:
        raise FileNotFoundError(f"{data} has no {path}.") from None
      if name.endswith(".bz2"):
        content = bz2.decompress(content)
      text = io.StringIO(content.decode())
      return np.loadtxt(text, delimiter=",", skiprows=1, ndmin=2)

    return Reference(
      table("observation.csv")[0],
      table("true_parameters.csv")[0],
      table("reference_posterior_samples.csv.bz2"),
    )


def read_design_matrix(data: pathlib.Path) -> np.ndarray:
  """Reads the regressors of `bernoulli_glm`, a file of PyTorch, [100, 10]."""
  with _open(data) as archive, tempfile.TemporaryDirectory() as folder:
    path = archive.extract("bernoulli_glm/design_matrix.pt", folder)
    (matrix,) = load_torch(path).values()
  return matrix


def _open(data):
  if not data.is_file():
    raise FileNotFoundError(
      f"No file {data}: pass --data with sbibm's archive of observations and"
      " reference posteriors."
    )
  return zipfile.ZipFile(data)
