"""Checksums depend on every bit and on no device."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from cinn_jax.runtime import sharding
from cinn_jax.workdir.checksums import checksums


def _flip_bit(array, byte, bit):
  copy = np.array(array)
  copy.view(np.uint8).reshape(-1)[byte] ^= 1 << bit
  return copy


@pytest.mark.parametrize(
  "dtype", [np.float32, np.int32, np.uint8, ml_dtypes.bfloat16]
)
def test_flipped_bit_changes_the_checksum(dtype):
  random = np.random.default_rng(0)
  array = random.normal(size=(3, 5, 2)).astype(dtype)
  [before] = checksums({"w": jnp.asarray(array)}).values()
  for byte in random.integers(0, array.nbytes, 12):
    flipped = _flip_bit(array, byte, random.integers(8))
    assert checksums({"w": jnp.asarray(flipped)}) != {"['w']": before}


def test_values_by_hand():
  # 5 * 1 + 7 * 3 + 9 * 5; -1 is 2**32 - 1.
  tree = {"a": jnp.array([5, 7, 9], jnp.int32), "b": jnp.array([-1, 0, 1])}
  assert checksums(tree) == {"['a']": 71, "['b']": 4}
  assert checksums({"on": jnp.array([False, True])}) == {"['on']": 3}


def test_swapped_values_change_the_checksum():
  one, other = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 1.0]])
  assert checksums(one) != checksums(other)
  assert checksums(one) != checksums(one.T[::-1])
  # A scalar has a checksum too.
  assert checksums(jnp.float32(1)) == {"": 0x3F800000}


def test_checksum_does_not_depend_on_sharding():
  mesh = sharding.make_mesh()
  array = np.random.default_rng(1).normal(size=(8 * mesh.size, 3))
  array = array.astype(np.float32)
  spread = jax.device_put(array, sharding.by_example(mesh))
  assert checksums(spread) == checksums(jnp.asarray(array))
