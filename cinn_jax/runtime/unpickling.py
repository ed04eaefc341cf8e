"""Arrays out of pickles and PyTorch's files; nothing that they name is run.

A pickle says which functions to call on the way, and may so do anything. Here
it gets a handful that only make arrays; of one that asks for others nothing is
read. PyTorch's files since version 1.6 are zip archives of a pickle and raw
numbers, TorchScript's too: torch is not needed to read them.
"""

import collections
import math
import pathlib
import pickle
import zipfile
from types import MappingProxyType
from typing import Any

import numpy as np

# By the names that torch has for them in a pickle.
_STORAGES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "BoolStorage": "?",
}


def load_arrays(path) -> Any:
  """What a pickle of numpy arrays in plain containers holds.

  Raises:
    FileNotFoundError: where there is no such file.
    ValueError: for a file that is no pickle, or one of something else.
  """
  path = _existing(path)
  with path.open("rb") as file:
    return _load(_ArrayUnpickler(file), path)


def load_torch(path) -> dict[str, np.ndarray]:
  """The tensors in a zip file of `torch.save` or TorchScript, by dotted name.

  In the file's order, of a state dict or of nested ones, or of a scripted
  module, whose code is left alone.

  Raises:
    FileNotFoundError: where there is no such file.
    ValueError: for another file, or one of more than tensors.
  """
  path = _existing(path)
  if not zipfile.is_zipfile(path):
    raise ValueError(
      f"{path} is no zip archive, as torch.save writes since PyTorch 1.6."
    )
  with zipfile.ZipFile(path) as archive:
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(pickles) != 1:
      raise ValueError(f"{path} has {len(pickles)} data.pkl, expected one.")
    folder = pickles[0].removesuffix("data.pkl")
    with archive.open(pickles[0]) as file:
      content = _load(_TorchUnpickler(file, archive, folder), path)
  return dict(_flatten(content, ""))


class _ArrayUnpickler(pickle.Unpickler):
  allowed = MappingProxyType(
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
  """What stands for a scripted module: its attributes, without any code."""

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
  # Checked here: as_strided itself would read any memory.
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
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"No file {path}.")
  return path
