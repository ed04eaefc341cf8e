"""Initial values from many examples, in the memory of a few.

Layers such as `ActNorm` start from the statistics of a batch, and those of a
small batch are poor: at the coarse scales of a flow a batch may have fewer
positions than channels. So all examples go through the flow together, layer by
layer. That takes little memory, since a flow's own arrays are as large as its
data. Its networks have far more channels, so they see a few examples at a time.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Bijection, Condition, PyTree


def initialize(
  module: Bijection,
  rng: Array,
  x: Array,
  cond: Condition,
  batch_size: int | None,
) -> Mapping[str, PyTree]:
  """Returns `module.init(rng, x, cond)`.

  Args:
    module: The bijection.
    rng: A JAX random key.
    x: Examples [B, ...].
    cond: Their condition, or None.
    batch_size: Largest number of rows that a network sees at a time; None for
      all. It changes no value but for rounding errors, because networks treat
      every example alone.
  """
  with contextlib.ExitStack() as stack:
    if batch_size is not None and batch_size < x.shape[0]:
      stack.enter_context(nn.intercept_methods(_Chunks(batch_size)))
    return module.init(rng, x, cond)


class _Chunks:
  """Intercepts the networks inside a bijection and runs them in chunks."""

  def __init__(self, rows: int):
    self._rows = rows
    self._is_inside = False

  def __call__(
    self,
    method: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
  ) -> Any:
    network = context.module
    if (
      self._is_inside
      or isinstance(network, Bijection)
      or context.method_name != "__call__"
    ):
      return method(*args, **kwargs)
    leaves, tree = jax.tree.flatten((args, kwargs))
    # Without a condition, its network sees no array.
    rows = next((leaf.shape[0] for leaf in leaves if _is_array(leaf)), 0)
    if rows <= self._rows:
      return method(*args, **kwargs)
    is_batch = [_is_array(leaf) and leaf.shape[0] == rows for leaf in leaves]

    def call(function, batch):
      rest = iter(batch)
      merged = [
        next(rest) if batched else leaf
        for leaf, batched in zip(leaves, is_batch, strict=True)
      ]
      args, kwargs = jax.tree.unflatten(tree, merged)
      return function(*args, **kwargs)

    batch = [
      leaf for leaf, batched in zip(leaves, is_batch, strict=True) if batched
    ]
    with self._enter():
      # Makes the parameters; the compiler drops the result.
      first = call(method, [leaf[: self._rows] for leaf in batch])
      sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(first)}
      if sizes != {(self._rows,)}:
        return first  # It is the same for all examples.
      pure, variables = network.unbind()

      def run(chunk):
        return call(lambda *a, **k: pure.apply(variables, *a, **k), chunk)

      return _in_chunks(run, batch, self._rows)

  @contextlib.contextmanager
  def _enter(self) -> Iterator[None]:
    self._is_inside = True
    try:
      yield
    finally:
      self._is_inside = False


def _in_chunks(function, batch, size):
  """Applies a function to a pytree of arrays [B, ...], `size` rows at a time.

  A chunk takes every `count`-th row, so that it has rows of every device if the
  batch is spread over several.
  """
  rows = jax.tree.leaves(batch)[0].shape[0]
  count = -(-rows // size)

  def split(leaf):
    missing = size * count - rows
    leaf = jnp.pad(leaf, [(0, missing), *[(0, 0)] * (leaf.ndim - 1)])
    return jnp.moveaxis(leaf.reshape(size, count, *leaf.shape[1:]), 1, 0)

  def join(leaf):
    leaf = jnp.moveaxis(leaf, 0, 1)
    return leaf.reshape(size * count, *leaf.shape[2:])[:rows]

  return jax.tree.map(join, jax.lax.map(function, jax.tree.map(split, batch)))


def _is_array(leaf):
  return getattr(leaf, "ndim", 0) > 0
