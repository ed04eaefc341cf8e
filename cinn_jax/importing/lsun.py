"""The layout of the official file of the LSUN colorization cINN.

Each module of the flow is stored under the number of its node in the graph.
Below full resolution a permutation follows every coupling. The permutations are
not in the file: they are numpy's with seeds 0, 1, 2, ... in each part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cinn_jax.importing.reader import Path, Reader

MODULES = "cinn.module_list"
SUBNET = ("0", "2")
# Settings of the published network that a config must have; also our defaults.
SETTINGS = {
  "condition_slope": 0.01,
  "haar_order": "channel",
  "flatten_order": "channel",
  "mixing": "permutation",
}


def entry(model: Mapping[str, Any]) -> str:
  """Returns "": the whole file is the state dict."""
  del model
  return ""


def read(reader: Reader, model: Mapping[str, Any]) -> None:
  """Reads the whole network."""
  node = 1  # Node 0 is the input.
  node = _couplings(
    reader, ("stages_0", "parts_0"), node, parts=(0,), is_mixed=False
  )
  reader.haar(f"{MODULES}.{node}", channels=2)
  node = _couplings(reader, ("stages_0", "parts_2"), node + 1, parts=(0, 2))
  reader.haar(f"{MODULES}.{node + 1}", channels=2)  # After the split.
  node = _couplings(reader, ("stages_1", "parts_1"), node + 2, parts=(0, 2))
  # After the split and the flatten.
  _couplings(reader, ("stages_2", "parts_1"), node + 2, parts=(0,))
  _condition_net(reader, model["condition_levels"])


def _couplings(
  reader: Reader,
  path: Path,
  node: int,
  *,
  parts: Sequence[int],
  is_mixed: bool = True,
) -> int:
  """Reads a stack of couplings that begins at `node`.

  Args:
    reader: Reader of the state dict.
    path: Path of the stack in our variables.
    node: Number of the first node.
    parts: Indices of the couplings in a block.
    is_mixed: Whether a permutation follows each coupling.

  Returns:
    The node after the stack.
  """
  stack = ("bijection", *path, "bijection", "block")
  seed = 0
  for block in range(reader.depth((*stack, "parts_0"))):
    for part in parts:
      coupling = (*stack, f"parts_{part}")
      reader.coupling(coupling, f"{MODULES}.{node}", SUBNET, block)
      if is_mixed:
        reader.permutation((*stack, f"parts_{part + 1}"), seed, block)
        seed += 1
      node += 1 + is_mixed
  return node


def _condition_net(
  reader: Reader, levels: Sequence[Sequence[tuple[int, int]]]
) -> None:
  """Reads the convolutions of all levels, and the dense layer after them."""
  conv = 0
  for k, layers in enumerate(levels):
    for i, _ in enumerate(layers):
      # Activations take a number too; all levels but the first begin with one.
      number = 2 * i + (k > 0)
      key = f"cond_net.resolution_levels.{k}.{number}"
      reader.layer(("condition_net", f"Conv_{conv}"), key)
      conv += 1
  # Numbers 0 to 2 are an activation, the pooling and a flatten.
  key = f"cond_net.resolution_levels.{len(levels)}.3"
  channels = levels[-1][-1][0]
  reader.pooled(("condition_net", "Dense_0"), key, channels)
