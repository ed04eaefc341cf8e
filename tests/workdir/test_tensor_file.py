"""Files of arrays: a damaged one is noticed, an earlier one is read."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from cinn_jax.workdir import tensor_file

TREE = {
  "params": {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": jnp.ones(3, jnp.bfloat16),
    "scale": np.float64(0.5),
  },
  "constants": {},
}
DESCRIPTION = {"shape": (2, 3), "noise": 0.1}


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "a.safetensors"
  tensor_file.write(path, TREE, DESCRIPTION)
  return path


def test_what_is_written_is_read(path):
  tree, description = tensor_file.read(path)
  assert tree["constants"] == {}
  assert description["shape"] == [2, 3] and description["noise"] == 0.1
  for name, leaf in TREE["params"].items():
    read = tree["params"][name]
    np.testing.assert_array_equal(read, leaf)
    assert read.dtype == leaf.dtype


def test_any_changed_byte_of_the_arrays_raises(path):
  content = path.read_bytes()
  start = 8 + int.from_bytes(content[:8], "little")
  assert len(content) - start == 6 * 4 + 3 * 2 + 8
  for place in range(start, len(content)):
    changed = bytearray(content)
    changed[place] ^= 4
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="does not match its checksum"):
      tensor_file.read(path)


@pytest.mark.parametrize("old, new", [(b"0.1", b"0.7"), (b"half", b"hall")])
def test_a_changed_description_or_name_raises(path, old, new):
  content = path.read_bytes()
  assert content.count(old) == 1
  path.write_bytes(content.replace(old, new))
  with pytest.raises(ValueError, match="does not match its checksum"):
    tensor_file.read(path)


def test_format_1_has_no_checksum(path):
  header = json.dumps({"format_version": 1, "empty": ["constants"]})
  arrays = {"params/kernel": TREE["params"]["kernel"]}
  path.write_bytes(safetensors.numpy.save(arrays, {"cinn_jax": header}))
  tree, _ = tensor_file.read(path)
  np.testing.assert_array_equal(
    tree["params"]["kernel"], arrays["params/kernel"]
  )
