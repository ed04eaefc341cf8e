"""Where the file of the ImageNet colorization cINN has its tensors.

Modules of the flow have the numbers of their nodes in the graph. The fixed
orthogonal matrices are in the file, the permutations of the dense part are
numpy's at seeds from 0 up. Batch norms have their running statistics.
"""

from collections.abc import Mapping

from cinn_jax.importing.reader import Reader
from cinn_jax.models.networks.condition_nets import ColorfulNet

# The network was wrapped for several GPUs.
MODULES = "module.inn.module_list"
FEATURES, GLOBAL = "module.feature_network", "module.fc_cond_network"
CONVOLUTIONS = ("conv1", "conv2", "conv3")
DENSE = ("fc1", "fc2", "fc2b", "fc3")
SETTINGS = {"norm": "batch"}


def entry(model: Mapping) -> str:
  """The file has the state dict beside those of the optimizers."""
  del model
  return "net"


def read(reader: Reader, model: Mapping):
  """Reads a whole network."""
  del model
  node = 1  # After the input.
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


def _stage(reader, path, node, level):
  """A coupling with a head of its own, then a matrix; returns the next node."""
  stack = ("bijection", *path, "block")
  coupling = (*stack, "parts_0", "bijection")
  for block in range(reader.depth(coupling)):
    key = f"{MODULES}.{node}"
    reader.coupling(coupling, key, CONVOLUTIONS, block)
    head = (*stack, "parts_0", "head")
    for k in range(level + 1):  # An activation stands between them.
      reader.layer((*head, f"Conv_{k}"), f"{key}.subnet.{2 * k}", block)
    reader.norm((*head, "Norm_0"), f"{key}.subnet.{2 * level + 1}", block)
    matrix = f"{MODULES}.{node + 1}"
    reader.orthogonal((*stack, "parts_1"), matrix, block)
    node += 2
  return node


def _down(reader, path, node, *, has_split=True):
  """A squeeze, then twice a matrix and a coupling; returns the next node.

  The graph's list has the output of a split before the last of these couplings:
  a flatten and an output node.
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


def _dense(reader, path, node):
  """A flatten, then a permutation and a coupling per block."""
  stack = ("bijection", *path, "bijection", "block")
  for block in range(reader.depth((*stack, "parts_1"))):
    reader.permutation((*stack, "parts_0"), seed=block, block=block)
    key = f"{MODULES}.{node + 2 * block + 2}"
    reader.coupling((*stack, "parts_1"), key, DENSE, block)


def _feature_net(reader):
  """The features, and the classifier that they were pretrained with."""
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


def _global_head(reader):
  """Convolutions with an activation between them, pooling, and a norm."""
  head = ("condition_net", "global_head")
  for k in range(4):
    reader.layer((*head, f"Conv_{k}"), f"{GLOBAL}.{2 * k}")
  reader.norm((*head, "Norm_0"), f"{GLOBAL}.8")
