"""Reads arrays from pickles and PyTorch files without running their code.

A pickle names functions to call and can thereby do anything. Here it may only
call a handful of functions that make arrays; a pickle that names others is
rejected. PyTorch files since version 1.6, and those of TorchScript, are zip
archives of a pickle and raw numbers; earlier ones are several pickles and raw
numbers in a row. So torch is not needed to read them.
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

# The first pickle of a PyTorch file that is not a zip archive.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
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
  """Loads the tensors of a file by `torch.save` or TorchScript.

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
    return _load_legacy(file)
  try:
    with zipfile.ZipFile(file) as archive:
      content = _load_archive(archive, file)
  except zipfile.BadZipFile as error:
    raise ValueError(f"{file} is damaged: {error}.") from None
  return dict(_flatten(content, ""))


def _load_archive(archive, file):
  pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
  if len(pickles) != 1:
    raise ValueError(f"{file} has {len(pickles)} data.pkl, expected one.")
  folder = pickles[0].removesuffix("data.pkl")
  with archive.open(pickles[0]) as stream:
    return _load(_TorchUnpickler(stream, archive, folder), file)


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


class _LegacyUnpickler(_ArrayUnpickler):
  """Makes tensors as views of storages whose numbers come after the pickle."""

  allowed = MappingProxyType(
    {
      **_TorchUnpickler.allowed,
      ("torch._utils", "_rebuild_tensor_v2"): lambda *a: _view(*a[:4]),
    }
  )

  def __init__(self, file, limit):
    super().__init__(file)
    self._limit = limit
    self.storages = {}

  def persistent_load(self, pid):
    _, dtype, key, _, count, view = pid
    if view is not None:
      raise pickle.UnpicklingError("it has views of storages")
    if not 0 <= count * dtype.itemsize <= self._limit:
      raise pickle.UnpicklingError(f"storage {key} is larger than the file")
    return self.storages.setdefault(key, np.zeros(count, dtype))


def _load_legacy(file):
  """Loads the tensors of a file by `torch.save` before PyTorch 1.6."""
  with file.open("rb") as stream:
    try:
      is_legacy = _ArrayUnpickler(stream).load() == _LEGACY_MAGIC
    except Exception:  # a stranger's bytes can make pickle raise anything
      is_legacy = False
    if not is_legacy:
      raise ValueError(
        f"{file} is not a file that torch.save wrote: it is not a zip archive"
        " and does not begin as the files before PyTorch 1.6."
      )
    for _ in range(2):  # the version, and a description of the machine
      _load(_ArrayUnpickler(stream), file)
    unpickler = _LegacyUnpickler(stream, file.stat().st_size)
    content = _load(unpickler, file)
    for key in _load(_ArrayUnpickler(stream), file):
      storage = unpickler.storages.get(key)
      count = int.from_bytes(stream.read(8), "little")
      if storage is None or count != len(storage):
        raise ValueError(f"{file} was not read: odd storage {key!r:.80}.")
      numbers = stream.read(storage.nbytes)
      if len(numbers) != storage.nbytes:
        raise ValueError(f"{file} was not read: it ends early.")
      storage[:] = np.frombuffer(numbers, storage.dtype)
  return {name: value.copy() for name, value in _flatten(content, "")}


def _tensor(storage, offset, size, stride):
  return _view(storage, offset, size, stride).copy()


def _view(storage, offset, size, stride):
  # Checked here, because as_strided itself would read any memory.
  last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
  if min((*size, *stride, offset, 0)) < 0 or (
    math.prod(size) and last >= len(storage)
  ):
    raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
  return np.lib.stride_tricks.as_strided(
    storage[offset:], size, [s * storage.itemsize for s in stride]
  )


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
