"""Whether arrays are the ones that were saved, wherever they live."""

import math

import jax
import jax.numpy as jnp
from jax import lax


def checksums(tree) -> dict[str, int]:
  """A number in [0, 2**32) per array of a tree, by its path.

  Sums of the arrays' bits, each 32 of them times an odd number of its
  position's, modulo 2**32. Integers add up to the same in any order, so the
  number does not depend on how an array is spread over devices; a single
  flipped bit always changes it.
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


def _strides(shape):
  return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _words(leaf):
  """The bits of an array as uint32, with an axis more for 64 of them."""
  if leaf.dtype == jnp.bool_:
    return leaf.astype(jnp.uint32)
  kinds = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}
  words = lax.bitcast_convert_type(leaf, kinds[leaf.dtype.itemsize])
  return words.astype(jnp.uint32)
