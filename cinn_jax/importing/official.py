"""The authors' PyTorch checkpoints of the MNIST cINNs as our variables.

(Ardizzone et al. 2019, published code of 2020, on the FrEIA of that time.)

The authors' files were not at hand: names and shapes follow the published code
and FrEIA's classes, and are checked one by one. They are in `LAYOUTS` and
`NETWORKS`; a file that differs is refused with the name of the first key that
does, and those tables are what to change.

Two things are not in the files. The permutations are numpy's at the seed of the
block's number. The soft clamp is `alpha * 0.636 * arctan(s / alpha)`, which our
config must name ("cinn_code"); FrEIA changed it in February 2021, and renamed
the networks `subnet1` and `subnet2`, so files from then on are refused.
"""

import pathlib
import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from cinn_jax import experiment


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
# Ours and theirs. Both steer the second half by net_1, the first by net_2.
NETWORKS = {"net_1": "s1", "net_2": "s2"}
# Nodes of the graph: input, flatten, then a permutation and a coupling each.
FIRST_COUPLING, NODES_PER_BLOCK = 3, 2
# The last batch, which FrEIA's graph kept among its buffers.
LEFTOVERS = "tmp_var_"


def load_official(path, config: Mapping) -> dict[str, Any]:
  """The variables in an official checkpoint, as `flow.init` lays them out.

  Args:
    path: of the file, as the authors' `torch.save` wrote it.
    config: of the experiment, with the sections `model` and `task`; that of
      configs/mnist.py for the minimal example, configs/mnist.py:paper for the
      paper's model.

  Returns:
    {"params": ..., "constants": ...}, numpy arrays.

  Raises:
    FileNotFoundError: where there is no such file.
    RuntimeError: without torch.
    ValueError: for a file that holds more than tensors and plain containers,
      or other tensors than the config's network has.
  """
  return to_variables(read_tensors(path, layout_of(config)), config)


def layout_of(config: Mapping) -> Layout:
  """How the official file of a config's network is laid out.

  Raises:
    ValueError: for a network that no official file has.
  """
  model = config["model"]
  if model["name"] != "dense_cinn":
    raise ValueError(
      f"Official checkpoints of {model['name']!r} cannot be imported: there is"
      " 'dense_cinn' alone (configs/mnist.py and configs/mnist.py:paper)."
    )
  if model["clamp"] != "cinn_code":
    raise ValueError(
      "Official checkpoints were trained with the clamp 'cinn_code', the config"
      f" has {model['clamp']!r}: pass --config.model.clamp=cinn_code."
    )
  hidden = len(model["hidden"])
  if hidden not in LAYOUTS:
    raise ValueError(
      f"Official subnets have {' or '.join(map(str, LAYOUTS))} hidden layers,"
      f" model.hidden has {hidden}: pass the config of a published network."
    )
  return LAYOUTS[hidden]


def read_tensors(path, layout: Layout) -> dict[str, np.ndarray]:
  """The state dict in a file; nothing in it is executed.

  Raises: as `load_official`.
  """
  try:
    import torch
  except ImportError:
    raise RuntimeError(
      "Reading a PyTorch checkpoint needs torch: pip install -e '.[freia]'."
    ) from None
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f"No checkpoint {path}: pass a file.")
  try:
    content = torch.load(path, map_location="cpu", weights_only=True)
  except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
    raise ValueError(
      f"{path} is no checkpoint of tensors alone ({_first_line(error)}): pass"
      " a file as torch.save wrote it from state dicts."
    ) from None
  if layout.entry and isinstance(content, dict):
    content = content.get(layout.entry)
  if not isinstance(content, dict):
    where = f"entry {layout.entry!r}" if layout.entry else "content"
    raise ValueError(
      f"{path} has no state dict as its {where}: is it of the network that the"
      " config names?"
    )
  return {
    key: value.numpy()
    for key, value in content.items()
    if isinstance(value, torch.Tensor)
  }


def to_variables(
  tensors: Mapping[str, np.ndarray], config: Mapping
) -> dict[str, Any]:
  """`load_official` from the state dict itself, by key.

  Raises:
    ValueError: names the first key that is missing, unexpected, or of another
      shape.
  """
  layout = layout_of(config)
  shapes = experiment.abstract_variables(*experiment.build(config))
  flat = traverse_util.flatten_dict(shapes)
  unread = dict(tensors)
  [order_path] = [path for path in flat if path[-1] == "order"]
  variables = {order_path: _orders(*flat.pop(order_path).shape)}
  layers = {path[:-2] for path in flat}
  for network in sorted(layers):
    blocks = [
      _subnet(unread, layout, network, block, flat)
      for block in range(config["model"]["depth"])
    ]
    for name in blocks[0]:
      variables[(*network, *name)] = np.stack([block[name] for block in blocks])
  for key in unread:
    if not key.rpartition(".")[2].startswith(LEFTOVERS):
      raise ValueError(
        f"The checkpoint has {key!r}, which the config's network has not: is"
        " it of another network, or of FrEIA since February 2021?"
      )
  return traverse_util.unflatten_dict(variables)


def _orders(depth, channels):
  """numpy's permutations at the seeds 0, 1, ...; both take x[:, order]."""
  orders = [
    np.random.RandomState(seed).permutation(channels) for seed in range(depth)
  ]
  return np.stack(orders).astype(np.int32)


def _subnet(unread, layout, network, block, flat):
  """One block's subnet: {(layer, "kernel" or "bias"): array}."""
  node = FIRST_COUPLING + NODES_PER_BLOCK * block
  prefix = f"{layout.modules}.{node}.{NETWORKS[network[-1]]}"
  arrays = {}
  for k, name in enumerate(layout.layers):
    rows, width = flat[(*network, f"layer_{k}", "kernel")].shape[1:]
    key, conditions = f"{prefix}.{name}", 0
    if k == 0:
      conditions = flat[(*network, "condition_0", "kernel")].shape[1]
    weight = _take(unread, f"{key}.weight", (width, rows + conditions))
    kernel, conditional = np.split(weight.T, [rows])
    arrays[f"layer_{k}", "kernel"] = kernel
    arrays[f"layer_{k}", "bias"] = _take(unread, f"{key}.bias", (width,))
    if k == 0:
      # The condition comes after the data, in a layer of its own here.
      arrays["condition_0", "kernel"] = conditional
  return arrays


def _take(unread, key, shape):
  if key not in unread:
    raise ValueError(
      f"The checkpoint has no {key!r}, which the config's network needs: is it"
      " of another network, or of FrEIA since February 2021?"
    )
  value = unread.pop(key)
  if value.shape != shape:
    raise ValueError(
      f"The checkpoint's {key!r} has shape {list(value.shape)}, the config's"
      f" network needs {list(shape)}."
    )
  return np.asarray(value, np.float32)


def _first_line(error):
  return (str(error).splitlines() or [type(error).__name__])[0]
