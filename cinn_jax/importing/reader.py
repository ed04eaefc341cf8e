"""Fills Flax variables from a PyTorch state dict, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from cinn_jax.bijections.base import PyTree

# A place in our variables, without the collection.
Path = tuple[str, ...]
# An index on the leading axis of a `Stack`, or () outside of one.
Block = int | tuple[()]

# Our names and theirs: net_1 transforms the second half, net_2 the first.
NETWORKS = {"net_1": "s1", "net_2": "s2"}
# FrEIA's graph kept the last batch among its buffers.
LEFTOVERS = "tmp_var_"
# Tolerance for M M^T = I: the matrices were computed in float32.
ORTHOGONAL = 1e-3


class Reader:
  """Takes what a network needs from a state dict, and refuses the rest.

  Every method reads one thing. `path` is its place in our variables, without
  the collection; `key` is the prefix of its keys in the state dict; `block` is
  its index on the leading axis of a `Stack`, () outside of one. Each method
  raises a ValueError that names the first key that is missing or of another
  shape.

  Args:
    tensors: State dict.
    shapes: Variables of the network; only their shapes are used.
  """

  def __init__(self, tensors: Mapping[str, np.ndarray], shapes: PyTree):
    self._unread = dict(tensors)
    flat = traverse_util.flatten_dict(shapes)
    self._shapes = {path: leaf.shape for path, leaf in flat.items()}
    self._variables: dict[Path, np.ndarray] = {}

  def depth(self, path: Path) -> int:
    """Returns the number of blocks in the stack of couplings at `path`."""
    return self._shapes["params", *path, "net_1", "layer_0", "bias"][0]

  def layer(self, path: Path, key: str, block: Block = ()) -> None:
    """Reads a convolution or dense layer."""
    inputs = self._shape(("params", *path, "kernel"), block)[-2]
    self._put_kernel(path, self._layer(path, key, inputs, block), block)

  def transposed(self, path: Path, key: str) -> None:
    """Reads a transposed convolution, whose kernel PyTorch stores flipped."""
    rows, columns, inputs, channels = self._shape(("params", *path, "kernel"))
    weight = self._take(f"{key}.weight", (inputs, channels, rows, columns))
    self._put_kernel(path, np.flip(weight, (2, 3)).transpose(2, 3, 0, 1))
    self._put(("params", *path, "bias"), self._take(f"{key}.bias", (channels,)))

  def pooled(self, path: Path, key: str, channels: int) -> None:
    """Reads a dense layer whose input is flattened square maps."""
    inputs = self._shape(("params", *path, "kernel"))[0]
    side = round((inputs / channels) ** 0.5)
    kernel = self._layer(path, key, inputs).reshape(channels, side, side, -1)
    rows = kernel.transpose(1, 2, 0, 3).reshape(inputs, -1)
    self._put_kernel(path, rows)

  def coupling(
    self, path: Path, key: str, layers: Sequence[str], block: Block
  ) -> None:
    """Reads both networks of a coupling; `layers` are their layers' names."""
    for ours, theirs in NETWORKS.items():
      net = (*path, ours)
      self._first_layer(net, f"{key}.{theirs}.{layers[0]}", block)
      for k, name in enumerate(layers[1:], start=1):
        self.layer((*net, f"layer_{k}"), f"{key}.{theirs}.{name}", block)

  def norm(self, path: Path, key: str, block: Block = ()) -> None:
    """Reads a batch norm and its running statistics."""
    for ours, theirs in (
      (("params", *path, "scale"), "weight"),
      (("params", *path, "bias"), "bias"),
      (("batch_stats", *path, "mean"), "running_mean"),
      (("batch_stats", *path, "var"), "running_var"),
    ):
      value = self._take(f"{key}.{theirs}", self._shape(ours, block))
      self._put(ours, value, block)
    # Files from before PyTorch 0.4.1 lack this counter.
    self._unread.pop(f"{key}.num_batches_tracked", None)

  def permutation(self, path: Path, seed: int, block: Block) -> None:
    """Draws numpy's permutation for a seed; the file does not contain it.

    FrEIA and we apply it alike, as x[..., order].
    """
    path = ("constants", *path, "order")
    (channels,) = self._shape(path, block)
    order = np.random.RandomState(seed).permutation(channels)
    self._put(path, order.astype(np.int32), block)

  def orthogonal(self, path: Path, key: str, block: Block) -> None:
    """Reads a fixed orthogonal 1x1 convolution."""
    path = ("constants", *path, "matrix")
    shape = (*self._shape(path, block), 1, 1)
    matrix = self._take(f"{key}.M", shape)[..., 0, 0].T
    # These follow from M: its inverse, and its log-determinant, which is 0.
    self._take(f"{key}.M_inv", shape)
    self._take(f"{key}.logDetM", ())
    error = np.abs(matrix @ matrix.T - np.eye(len(matrix))).max()
    if not error < ORTHOGONAL:
      raise ValueError(
        f"The checkpoint's '{key}.M' is not orthogonal, but the published"
        f" matrices are: M M^T differs from the identity by {error:.2g}."
      )
    self._put(path, matrix, block)

  def haar(self, key: str, channels: int) -> None:
    """Skips the fixed filters of a Haar squeeze, which are code here."""
    self._take(f"{key}.haar_weights", (4 * channels, 1, 2, 2))

  def variables(self) -> dict[str, Any]:
    """Returns what was read, in the structure that `flow.init` returns.

    Raises:
      ValueError: if a key was not read, or a variable of the network has no
        value; names the first one.
    """
    for key in self._unread:
      if not key.rpartition(".")[2].startswith(LEFTOVERS):
        raise ValueError(
          f"The checkpoint has {key!r}, but the config's network does not: does"
          " it belong to another network, or to FrEIA since February 2021?"
        )
    if missing := sorted(set(self._shapes) - set(self._variables)):
      raise ValueError(
        f"The config's network has {'/'.join(missing[0])!r}, but the published"
        " one does not: leave out the settings that differ from it."
      )
    return traverse_util.unflatten_dict(self._variables)

  def _first_layer(self, net: Path, key: str, block: Block) -> None:
    """Splits the first layer, whose inputs are the data, then the condition.

    The condition has a layer of its own here.
    """
    layer, condition = (*net, "layer_0"), (*net, "condition_0")
    inputs = rows = self._shape(("params", *layer, "kernel"), block)[-2]
    is_conditional = ("params", *condition, "kernel") in self._shapes
    if is_conditional:
      inputs += self._shape(("params", *condition, "kernel"), block)[-2]
    kernel = self._layer(layer, key, inputs, block)
    self._put_kernel(layer, kernel[..., :rows, :], block)
    if is_conditional:
      self._put_kernel(condition, kernel[..., rows:, :], block)

  def _layer(
    self, path: Path, key: str, inputs: int, block: Block = ()
  ) -> np.ndarray:
    """Puts the bias and returns the kernel [..., inputs, channels]."""
    *window, _, channels = self._shape(("params", *path, "kernel"), block)
    weight = self._take(f"{key}.weight", (channels, inputs, *window))
    bias = self._take(f"{key}.bias", (channels,))
    self._put(("params", *path, "bias"), bias, block)
    return weight.transpose(*range(2, weight.ndim), 1, 0)

  def _put_kernel(
    self, path: Path, value: np.ndarray, block: Block = ()
  ) -> None:
    self._put(("params", *path, "kernel"), value, block)

  def _put(self, path: Path, value: np.ndarray, block: Block = ()) -> None:
    if path not in self._variables:
      self._variables[path] = np.zeros(self._shapes[path], value.dtype)
    self._variables[path][block] = value

  def _shape(self, path: Path, block: Block = ()) -> tuple[int, ...]:
    shape = self._shapes[path]
    return shape if block == () else shape[1:]

  def _take(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key not in self._unread:
      raise ValueError(
        f"The checkpoint has no {key!r}, but the config's network needs it:"
        " does it belong to another network, or to FrEIA since February 2021?"
      )
    value = self._unread.pop(key)
    if value.shape != tuple(shape):
      raise ValueError(
        f"The checkpoint's {key!r} has shape {list(value.shape)}, but the"
        f" config's network needs {list(shape)}."
      )
    return np.asarray(value, np.float32)
