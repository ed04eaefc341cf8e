"""The layout of the official file of the ImageNet colorization cINN.

Each module of the flow is stored under the number of its node in the graph. The
file contains the fixed orthogonal matrices and the running statistics of the
batch norms. It does not contain the permutations of the dense part: these are
numpy's with seeds 0, 1, 2, ...
"""

from collections.abc import Mapping
from typing import Any

from cinn_jax.importing.reader import Path, Reader
from cinn_jax.models.networks.condition_nets import ColorfulNet

# "module." comes from the wrapper for training on several GPUs.
MODULES = "module.inn.module_list"
FEATURES, GLOBAL = "module.feature_network", "module.fc_cond_network"
CONVOLUTIONS = ("conv1", "conv2", "conv3")
DENSE = ("fc1", "fc2", "fc2b", "fc3")
# Settings of the published network that a config must have.
SETTINGS = {"norm": "batch"}


def entry(model: Mapping[str, Any]) -> str:
  """Returns the key of the state dict; the optimizers' are next to it."""
  del model
  return "net"


def read(reader: Reader, model: Mapping[str, Any]) -> None:
  """Reads the whole network."""
  del model
  node = 1  # Node 0 is the input.
  node = _stage(reader, ("stages_0", "parts_0"), node, level=0)
  node = _down(reader, ("stages_0", "parts_1"), node, has_split=False)
  node = _stage(reader, ("stages_0", "parts_2"), node, level=1)
  node = _down(reader, ("stages_0", "parts_3"), node)
  node = _stage(reader, ("stages_1", "parts_0"), node, level=2)
  node = _down(reader, ("stages_1", "parts_1"), node)
  node = _stage(reader, ("stages_2", "parts_0"), node, level=3)
  reader.haar(f"{MODULES}.{node}", channels=32)
  node = _down(reader, ("stages_2", "parts_1"), node)
  _dense(reader, ("stages_3", "parts_1"), node)
  _feature_net(reader)
  _global_head(reader)


def _stage(reader: Reader, path: Path, node: int, level: int) -> int:
  """Reads couplings, each with its own head and followed by a matrix.

  Returns:
    The next node.
  """
  stack = ("bijection", *path, "block")
  coupling = (*stack, "parts_0", "bijection")
  for block in range(reader.depth(coupling)):
    key = f"{MODULES}.{node}"
    reader.coupling(coupling, key, CONVOLUTIONS, block)
    head = (*stack, "parts_0", "head")
    for k in range(level + 1):  # Odd numbers are the activations.
      reader.layer((*head, f"Conv_{k}"), f"{key}.subnet.{2 * k}", block)
    reader.norm((*head, "Norm_0"), f"{key}.subnet.{2 * level + 1}", block)
    matrix = f"{MODULES}.{node + 1}"
    reader.orthogonal((*stack, "parts_1"), matrix, block)
    node += 2
  return node


def _down(
  reader: Reader, path: Path, node: int, *, has_split: bool = True
) -> int:
  """Reads a squeeze and then, twice, a matrix and a coupling.

  A split adds three nodes: a flatten and an output before the second coupling,
  and the split itself after it.

  Returns:
    The next node.
  """
  stack = ("bijection", *path, "parts_1", "bijection", "block")
  last = node + (6 if has_split else 4)
  for block, (matrix, coupling) in enumerate(
    ((node + 1, node + 2), (node + 3, last))
  ):
    reader.orthogonal((*stack, "parts_0"), f"{MODULES}.{matrix}", block)
    key = f"{MODULES}.{coupling}"
    reader.coupling((*stack, "parts_1"), key, CONVOLUTIONS, block)
  return last + (2 if has_split else 1)


def _dense(reader: Reader, path: Path, node: int) -> None:
  """Reads a flatten, then a permutation and a coupling per block."""
  stack = ("bijection", *path, "bijection", "block")
  for block in range(reader.depth((*stack, "parts_1"))):
    reader.permutation((*stack, "parts_0"), seed=block, block=block)
    key = f"{MODULES}.{node + 2 * block + 2}"
    reader.coupling((*stack, "parts_1"), key, DENSE, block)


def _feature_net(reader: Reader) -> None:
  """Reads the feature network and the classifier of its pretraining."""
  net, classifier = (
    ("condition_net", name) for name in ("feature_net", "classifier")
  )
  conv = 0
  for k, layers in enumerate(ColorfulNet.GROUPS, start=1):
    for i in range(1, len(layers) + 1):
      prefix = "bw_" if conv == 0 else ""
      key = f"{FEATURES}.{prefix}conv{k}_{i}"
      reader.layer((*net, f"Conv_{conv}"), key)
      conv += 1
    norm = f"{FEATURES}.conv{k}_{len(layers)}norm"
    reader.norm((*net, f"Norm_{k - 1}"), norm)
  reader.transposed((*net, "ConvTranspose_0"), f"{FEATURES}.conv8_1")
  reader.layer((*net, f"Conv_{conv}"), f"{FEATURES}.conv8_2")
  reader.layer((*net, f"Conv_{conv + 1}"), f"{FEATURES}.conv8_3")
  reader.layer((*classifier, "Conv_0"), f"{FEATURES}.conv8_313")
  reader.layer((*classifier, "Conv_1"), f"{FEATURES}.class8_ab")


def _global_head(reader: Reader) -> None:
  """Reads four convolutions and the batch norm that follows the pooling."""
  head = ("condition_net", "global_head")
  for k in range(4):  # Odd numbers are the activations.
    reader.layer((*head, f"Conv_{k}"), f"{GLOBAL}.{2 * k}")
  reader.norm((*head, "Norm_0"), f"{GLOBAL}.8")
