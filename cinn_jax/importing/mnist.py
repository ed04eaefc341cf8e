"""Where the files of the two MNIST cINNs have their tensors.

The permutations are not in the files: they are numpy's at the seed of the
block's number. Nodes of the graph, of which the modules have their numbers:
input, flatten, then a permutation and a coupling per block.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cinn_jax.importing.reader import Reader

FIRST_COUPLING, NODES_PER_BLOCK = 3, 2
BLOCK = ("bijection", "parts_1", "block")


class Layout(NamedTuple):
  """Where a file has its tensors.

  Attributes:
    entry: of the file, that is the state dict; "" where the file is it.
    modules: the prefix of the list of modules, one per node of the graph.
    layers: names of a subnet's layers.
  """

  entry: str
  modules: str
  layers: tuple[str, ...]


# By the number of hidden layers: the minimal example, the paper's model.
LAYOUTS = {
  1: Layout("", "cinn.module_list", ("0", "2")),
  3: Layout("net", "module_list", ("fc1", "fc2", "fc2b", "fc3")),
}


def entry(model: Mapping) -> str:
  """The file's entry that is the state dict, "" where the file is it.

  Raises:
    ValueError: for a network that no official file has.
  """
  return _layout(model).entry


def read(reader: Reader, model: Mapping):
  """Reads a whole network."""
  layout = _layout(model)
  for k in range(model["depth"]):
    # Stacked, or one by one.
    path, block = (BLOCK, k) if model["scanned"] else ((*BLOCK, f"{k}"), ())
    reader.permutation((*path, "parts_0"), seed=k, block=block)
    key = f"{layout.modules}.{FIRST_COUPLING + NODES_PER_BLOCK * k}"
    reader.coupling((*path, "parts_1"), key, layout.layers, block)


def _layout(model):
  hidden = len(model["hidden"])
  if hidden not in LAYOUTS:
    raise ValueError(
      f"Official subnets have {' or '.join(map(str, LAYOUTS))} hidden layers,"
      f" model.hidden has {hidden}: pass the config of a published network."
    )
  return LAYOUTS[hidden]
