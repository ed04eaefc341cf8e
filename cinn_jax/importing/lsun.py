"""Where the file of the LSUN colorization cINN has its tensors.

Modules have the numbers of their nodes in the graph. Below full resolution a
permutation follows every coupling, numpy's at seeds from 0 up in each part; it
is not in the file.
"""

from collections.abc import Mapping

from cinn_jax.importing.reader import Reader

MODULES = "cinn.module_list"
SUBNET = ("0", "2")
# What the file's network does, and our builder by default.
SETTINGS = {
  "condition_slope": 0.01,
  "haar_order": "channel",
  "flatten_order": "channel",
  "mixing": "permutation",
}


def entry(model: Mapping) -> str:
  """The file is the state dict."""
  del model
  return ""


def read(reader: Reader, model: Mapping):
  """Reads a whole network."""
  node = 1  # After the input.
  node = _couplings(reader, ("stages_0", "parts_0"), node, (0,), mixed=False)
  reader.haar(f"{MODULES}.{node}", channels=2)
  node = _couplings(reader, ("stages_0", "parts_2"), node + 1, (0, 2))
  reader.haar(f"{MODULES}.{node + 1}", channels=2)  # After the split.
  node = _couplings(reader, ("stages_1", "parts_1"), node + 2, (0, 2))
  # After the split and the flatten.
  _couplings(reader, ("stages_2", "parts_1"), node + 2, (0,))
  _condition_net(reader, model["condition_levels"])


def _couplings(reader, path, node, parts, *, mixed=True):
  """Reads a stack from `node` on; returns the node after it."""
  stack = ("bijection", *path, "bijection", "block")
  seed = 0
  for block in range(reader.depth((*stack, "parts_0"))):
    for part in parts:
      coupling = (*stack, f"parts_{part}")
      reader.coupling(coupling, f"{MODULES}.{node}", SUBNET, block)
      if mixed:
        reader.permutation((*stack, f"parts_{part + 1}"), seed, block)
        seed += 1
      node += 1 + mixed
  return node


def _condition_net(reader, levels):
  """Every level but the first begins with its activation."""
  conv = 0
  for k, layers in enumerate(levels):
    for i, _ in enumerate(layers):
      place = 2 * i + (k > 0)
      key = f"cond_net.resolution_levels.{k}.{place}"
      reader.layer(("condition_net", f"Conv_{conv}"), key)
      conv += 1
  # Activation, pooling, flattening, and then the dense layer.
  key = f"cond_net.resolution_levels.{len(levels)}.3"
  channels = levels[-1][-1][0]
  reader.pooled(("condition_net", "Dense_0"), key, channels)
