"""Checksums depend on every bit and on no device."""

import os
import subprocess
import sys

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

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


ON_FOUR_DEVICES = """
import jax, numpy as np
from cinn_jax.runtime import sharding
from cinn_jax.workdir.checksums import checksums

mesh = sharding.make_mesh()
assert mesh.size == 4
array = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
spread = jax.device_put(array, sharding.by_example(mesh))
assert spread.addressable_data(0).shape == (8, 3)
assert checksums(spread) == checksums(array)
print("same as on one device")
"""


def test_checksum_does_not_depend_on_sharding():
  process = subprocess.run(
    [sys.executable, "-c", ON_FOUR_DEVICES],
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  assert process.stdout == "same as on one device\n", process.stderr
