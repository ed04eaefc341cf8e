"""Checksums of arrays, to tell whether they are the ones that were saved."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from cinn_jax.bijections.base import Array, PyTree


def checksums(tree: PyTree) -> dict[str, int]:
  """Returns one number in [0, 2**32) for each array of a tree, by its path.

  The number is the sum of the array's 32-bit words modulo 2**32, each word
  times an odd weight that depends on its position. Integer sums are the same in
  any order, so the checksum does not depend on how an array is spread over
  devices. Flipping a single bit always changes it.
  """
  sums = jax.device_get(_sums(tree))
  return {
    jax.tree_util.keystr(path): int(value)
    for path, value in jax.tree_util.tree_leaves_with_path(sums)
  }


@jax.jit
def _sums(tree):
  return jax.tree.map(_sum, tree)


def _sum(leaf):
  words = _words(leaf)
  position = jnp.zeros(words.shape, jnp.uint32)
  for axis, stride in enumerate(_strides(words.shape)):
    along = lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    position += along * jnp.uint32(stride % 2**32)
  return jnp.sum(words * (2 * position + 1), dtype=jnp.uint32)


def _strides(shape: Sequence[int]) -> list[int]:
  return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _words(leaf: Array) -> Array:
  """Returns an array's bits as uint32; 64-bit types get one more axis."""
  if leaf.dtype == jnp.bool_:
    return leaf.astype(jnp.uint32)
  kinds = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}
  words = lax.bitcast_convert_type(leaf, kinds[leaf.dtype.itemsize])
  return words.astype(jnp.uint32)
