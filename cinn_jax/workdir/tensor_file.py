"""One file of arrays and a description, in the safetensors format.

The format is a JSON header with the names, types and places of the arrays, then
the arrays. The description is JSON in the header's metadata, under "cinn_jax".
No part of it is code. A checksum over description and arrays tells a damaged
file from an intact one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from cinn_jax.bijections.base import PyTree
from cinn_jax.runtime import storage

# Readers refuse files with a higher number. Files of format 1 have no checksum;
# only flows with a base distribution of their own need format 3.
FORMAT_VERSION = 3
_COMMON_VERSION = 2
_KEY = "cinn_jax"
# Data types by their names in the format.
_DTYPES: dict[str, Any] = {
  "BOOL": np.bool_,
  "U8": np.uint8,
  "U16": np.uint16,
  "U32": np.uint32,
  "U64": np.uint64,
  "I8": np.int8,
  "I16": np.int16,
  "I32": np.int32,
  "I64": np.int64,
  "F8_E4M3": jnp.float8_e4m3fn,
  "F8_E5M2": jnp.float8_e5m2,
  "F16": np.float16,
  "BF16": jnp.bfloat16,
  "F32": np.float32,
  "F64": np.float64,
  "C64": np.complex64,
}


def write(
  path: str | os.PathLike[str],
  tree: Mapping[str, PyTree],
  description: Mapping[str, Any],
) -> None:
  """Writes nested dicts of arrays and a description, whole or not at all.

  Args:
    path: The file, local or in a bucket.
    tree: The arrays; they are named by their joined keys, "params/layer/bias".
    description: Values for JSON, by name. "format_version" is needed only if a
      reader of the common format would misread the file.

  Raises:
    ValueError: if a leaf is not an array, or has a type that the format lacks.
    OSError: if the file cannot be written.
  """
  arrays, empty = _flatten(tree)
  header = {"format_version": _COMMON_VERSION, **description, "empty": empty}
  header = json.loads(json.dumps(header))  # As `read` will find it.
  header["sha256"] = _checksum(header, arrays)
  try:
    content = safetensors.numpy.save(arrays, {_KEY: json.dumps(header)})
  except safetensors.SafetensorError as error:
    raise ValueError(f"{path} cannot hold these arrays: {error}.") from None
  storage.write_whole(path, content)


def _flatten(tree):
  """Returns all arrays by name, and the names of dicts that are empty."""
  arrays, empty = {}, []
  flat = traverse_util.flatten_dict(
    flax.core.unfreeze(tree), keep_empty_nodes=True
  )
  for path, leaf in flat.items():
    name = "/".join(map(str, path))
    if any("/" in str(key) for key in path):
      raise ValueError(f"A name of a variable has a slash: {path}.")
    if leaf is traverse_util.empty_node:
      empty.append(name)
    elif isinstance(leaf, jax.Array | np.ndarray | np.generic):
      # The format assumes C order.
      arrays[name] = np.asarray(jax.device_get(leaf), order="C")
    else:
      raise ValueError(f"{name} is {type(leaf).__name__}, expected an array.")
  return arrays, empty


def read(
  path: str | os.PathLike[str],
) -> tuple[dict[str, PyTree], dict[str, Any]]:
  """Returns the arrays and the description that `write` was given.

  Raises:
    FileNotFoundError: if the file does not exist.
    ValueError: if it is damaged, not from `write`, or from a newer version.
  """
  try:
    content = storage.path(path).read_bytes()
  except FileNotFoundError:
    raise FileNotFoundError(f"There is no file {path}.") from None
  try:
    stored = safetensors.deserialize(content)
  except safetensors.SafetensorError as error:
    raise ValueError(
      f"{path} is damaged, or is not a file from cinn_jax.save ({error})."
    ) from None
  header = _header(path, content)
  arrays: dict[str, Any] = {}
  for name, array in stored:
    if array["dtype"] not in _DTYPES:
      raise ValueError(f"{path}: {name} has an unknown type {array['dtype']}.")
    values = np.frombuffer(array["data"], _DTYPES[array["dtype"]])
    arrays[name] = values.reshape(array["shape"])
  expected = header.pop("sha256", None)
  has_checksum = int(header["format_version"]) > 1
  if has_checksum and expected != _checksum(header, arrays):
    raise ValueError(
      f"{path} is damaged: its content does not match its checksum. Copy or"
      " download it again."
    )
  flat = {name: {} for name in header.pop("empty")} | arrays
  return traverse_util.unflatten_dict(flat, sep="/"), header


def _header(path, content):
  size = int.from_bytes(content[:8], "little")
  try:
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    header = json.loads(metadata[_KEY])
    version = int(header["format_version"])
  except (KeyError, TypeError, ValueError, RecursionError):
    raise ValueError(f"{path} is not a file from cinn_jax.save.") from None
  if version > FORMAT_VERSION:
    raise ValueError(
      f"{path} has format {version}, and this cinn_jax reads formats up to"
      f" {FORMAT_VERSION}: install a newer one."
    )
  return header


def _checksum(header, arrays):
  """Returns a digest that changes with any name, shape, type or number."""
  digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
  for name in sorted(arrays):
    array = arrays[name]
    digest.update(f"{name} {array.dtype} {array.shape} ".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()
