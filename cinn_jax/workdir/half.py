"""Network parameters in float16, so that a file takes half the space."""

import numpy as np
from flax import traverse_util

from cinn_jax.bijections.base import PyTree

# Parts of a flow whose numbers may be rounded, because they do not enter a
# density directly. The scales of ActNorm and the matrices of mixings do.
NETWORKS = ("condition_net", "features", "net", "net_1", "net_2")


def to_half(variables: PyTree) -> PyTree:
  """Returns variables with the numbers of `NETWORKS` in float16."""
  flat = traverse_util.flatten_dict(variables)

  def convert(path, leaf):
    is_network = any(name in NETWORKS for name in path)
    is_float = np.issubdtype(leaf.dtype, np.floating)
    return np.asarray(leaf, np.float16) if is_network and is_float else leaf

  return traverse_util.unflatten_dict(
    {path: convert(path, leaf) for path, leaf in flat.items()}
  )
