"""Reads arrays from pickles and PyTorch files without running their code.

A pickle names functions to call and can thereby do anything. Here it may only
call a handful of functions that make arrays; a pickle that names others is
rejected. PyTorch files since version 1.6, and those of TorchScript, are zip
archives of a pickle and raw numbers, so torch is not needed to read them.
"""

import collections
import math
import os
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

# Types by the names that torch gives them in a pickle.
_STORAGES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "BoolStorage": "?",
}


def load_arrays(path: str | os.PathLike[str]) -> Any:
  """Loads a pickle of numpy arrays in plain containers.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is no pickle, or holds anything else.
  """
  file = _existing(path)
  with file.open("rb") as stream:
    return _load(_ArrayUnpickler(stream), file)


def load_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Loads the tensors of a zip file by `torch.save` or TorchScript.

  The file holds a state dict, nested ones, or a scripted module, whose code is
  ignored.

  Returns:
    Arrays by dotted name, in the file's order.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: for another kind of file, or one with more than tensors.
  """
  file = _existing(path)
  if not zipfile.is_zipfile(file):
    raise ValueError(
      f"{file} is no zip archive, which torch.save writes since PyTorch 1.6."
    )
  with zipfile.ZipFile(file) as archive:
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(pickles) != 1:
      raise ValueError(f"{file} has {len(pickles)} data.pkl, expected one.")
    folder = pickles[0].removesuffix("data.pkl")
    with archive.open(pickles[0]) as stream:
      content = _load(_TorchUnpickler(stream, archive, folder), file)
  return dict(_flatten(content, ""))


class _ArrayUnpickler(pickle.Unpickler):
  allowed: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
      **{
        (f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: np.ndarray(0)
        for core in ("core", "_core")
      },
      ("numpy", "ndarray"): np.ndarray,
      ("numpy", "dtype"): np.dtype,
    }
  )

  def find_class(self, module, name):
    try:
      return self.allowed[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"it asks for {module}.{name}, which makes no array"
      ) from None


class _Module:
  """A scripted module, reduced to its attributes."""

  def __setstate__(self, state):
    self.attributes = state


class _TorchUnpickler(_ArrayUnpickler):
  allowed = MappingProxyType(
    {
      ("collections", "OrderedDict"): collections.OrderedDict,
      ("torch._utils", "_rebuild_tensor_v2"): lambda *a: _tensor(*a[:4]),
      ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
      ("torch.jit._pickle", "build_intlist"): list,
      **{("torch", name): np.dtype(code) for name, code in _STORAGES.items()},
    }
  )

  def __init__(self, file, archive, folder):
    super().__init__(file)
    self._archive, self._folder = archive, folder

  def find_class(self, module, name):
    if module.split(".")[0] == "__torch__":
      return _Module
    return super().find_class(module, name)

  def persistent_load(self, pid):
    _, dtype, key, *_ = pid
    return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _tensor(storage, offset, size, stride):
  # Checked here, because as_strided itself would read any memory.
  last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
  if min((*size, *stride, offset, 0)) < 0 or (
    math.prod(size) and last >= len(storage)
  ):
    raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
  return np.lib.stride_tricks.as_strided(
    storage[offset:], size, [s * storage.itemsize for s in stride]
  ).copy()


def _flatten(content, prefix):
  if isinstance(content, np.ndarray):
    yield prefix.removesuffix("."), content
  attributes = getattr(content, "attributes", content)
  if isinstance(attributes, dict):
    for name, value in attributes.items():
      yield from _flatten(value, f"{prefix}{name}.")


def _load(unpickler, path):
  try:
    return unpickler.load()
  except (pickle.UnpicklingError, EOFError, TypeError, KeyError) as error:
    raise ValueError(f"{path} was not read: {error}.") from None


def _existing(path):
  file = pathlib.Path(path)
  if not file.is_file():
    raise FileNotFoundError(f"No file {file}.")
  return file
