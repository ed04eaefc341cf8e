"""The layouts of the official files of the two MNIST cINNs.

Each module of the flow is stored under the number of its node in the graph. The
nodes are the input, a flatten, and a permutation and a coupling per block. The
permutations are not in the files: they are numpy's, and the seed is the number
of the block.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cinn_jax.importing.reader import Block, Reader

FIRST_COUPLING, NODES_PER_BLOCK = 3, 2
BLOCK = ("bijection", "parts_1", "block")
# Settings of the published networks that a config must have: none.
SETTINGS: dict[str, Any] = {}


class Layout(NamedTuple):
  """The names in a file.

  Attributes:
    entry: Key of the state dict in the file; "" if the file is the state dict.
    modules: Prefix of the list of modules, which has one per node.
    layers: Names of a subnet's layers.
  """

  entry: str
  modules: str
  layers: tuple[str, ...]


# By the number of hidden layers: the minimal example, the paper's model.
LAYOUTS = {
  1: Layout("", "cinn.module_list", ("0", "2")),
  3: Layout("net", "module_list", ("fc1", "fc2", "fc2b", "fc3")),
}


def entry(model: Mapping[str, Any]) -> str:
  """Returns the key of the state dict; "" if the file is the state dict.

  Raises:
    ValueError: if no official file contains such a network.
  """
  return _layout(model).entry


def read(reader: Reader, model: Mapping[str, Any]) -> None:
  """Reads the whole network."""
  layout = _layout(model)
  for k in range(model["depth"]):
    path: tuple[str, ...] = BLOCK
    block: Block = k
    if not model["scanned"]:  # Blocks have variables of their own.
      path, block = (*BLOCK, f"{k}"), ()
    reader.permutation((*path, "parts_0"), seed=k, block=block)
    key = f"{layout.modules}.{FIRST_COUPLING + NODES_PER_BLOCK * k}"
    reader.coupling((*path, "parts_1"), key, layout.layers, block)


def _layout(model: Mapping[str, Any]) -> Layout:
  hidden = len(model["hidden"])
  if hidden not in LAYOUTS:
    raise ValueError(
      f"Official subnets have {' or '.join(map(str, LAYOUTS))} hidden layers,"
      f" model.hidden has {hidden}: pass the config of a published network."
    )
  return LAYOUTS[hidden]
