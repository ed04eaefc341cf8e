"""Architectures as plain data: a module becomes JSON, and JSON a module.

A module's architecture is its class and its fields, recursively. Classes and
functions are written by name, and only names of this package's bijections and
models, of `jax.nn` and of `flax.linen` are looked up again. So a description
from a stranger can build an unusual network, but it cannot run other code.
"""

import base64
import dataclasses
import functools
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Rooms of this package whose classes and functions may be named.
_ROOMS = ("cinn_jax.bijections", "cinn_jax.models")
# Libraries whose public functions and modules may be named.
_LIBRARIES = {
  "jax.nn": jax.nn,
  "jax.nn.initializers": jax.nn.initializers,
  "flax.linen": nn,
}
# Names in earlier files.
_MOVED = {
  "cinn_jax.models.vector_flow.TamedSubnet": (
    "cinn_jax.models.networks.taming.TamedSubnet"
  ),
}
_PLAIN = (type(None), bool, int, str)


class Unknown(ValueError):
  """A part of an architecture that cannot be described or found by name."""


def describe(module: nn.Module, foreign: Callable | None = None) -> Any:
  """Returns the architecture of a module: dicts, lists, numbers and strings.

  >>> from cinn_jax.bijections import Split
  >>> describe(Split(2))["fields"]
  {'channels': 2, 'side': 'last'}

  Args:
    module: A Flax module that is not bound to variables.
    foreign: Called with each part that has no description, a class, a function
      or a value; returns what takes its place. By default such parts raise.

  Raises:
    Unknown: if a part is not this package's and `foreign` is None.
  """
  return _Description(foreign).of(module)


def build(description: Any) -> Any:
  """Builds the module that `describe` described.

  Raises:
    Unknown: if it names anything that it may not name or that does not exist.
    ValueError: if it is not such a description.
  """
  try:
    return _Construction().of(description)
  except (AttributeError, LookupError, TypeError) as error:
    raise ValueError(f"Not an architecture ({error!r}).") from None


class _Description:
  """One description, which knows the modules that it has described."""

  def __init__(self, foreign):
    self._foreign = foreign or _refuse
    self._modules = {}  # by id, in the order of their descriptions

  def of(self, value):
    if type(value) in _PLAIN:
      return value
    if type(value) is float:
      return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is list:
      return [self.of(part) for part in value]
    if type(value) is tuple:
      return {"tuple": [self.of(part) for part in value]}
    if isinstance(value, Mapping):
      return {"dict": [[self.of(k), self.of(v)] for k, v in value.items()]}
    if isinstance(value, nn.Module):
      return self._module(value)
    if type(value) is functools.partial:
      return {
        "partial": self._name(value.func),
        "args": [self.of(part) for part in value.args],
        "keywords": {k: self.of(v) for k, v in value.keywords.items()},
      }
    if isinstance(value, jax.Array | np.ndarray | np.generic):
      return _array(value)
    if (kind := _kind_of_dtype(value)) is not None:
      return {"dtype": np.dtype(value).name, "kind": kind}
    return {"name": self._name(value)}

  def _module(self, module):
    # A module that occurs twice has one set of parameters.
    if id(module) in self._modules:
      return {"again": self._modules[id(module)]}
    self._modules[id(module)] = len(self._modules)
    fields = {}
    for field in dataclasses.fields(module):
      if not field.init or field.name in ("parent", "name"):
        continue
      value = getattr(module, field.name)
      try:
        fields[field.name] = self.of(value)
      except Unknown:
        # Functions that Flax makes itself have no name.
        if value is not field.default:
          raise
    described = {"module": self._name(type(module)), "fields": fields}
    if module.name is not None:
      described["name"] = module.name
    return described

  def _name(self, value):
    for path, library in _LIBRARIES.items():
      name = getattr(value, "__name__", None)
      if isinstance(name, str) and getattr(library, name, None) is value:
        return f"{path}.{name}"
    path = f"{getattr(value, '__module__', '')}.{_qualified(value)}"
    return path if _found(path) is value else self._foreign(value)


def _refuse(value):
  name = _qualified(value)
  where = getattr(value, "__module__", None)
  name = f"{where}.{name}" if name and where else repr(value)
  raise Unknown(f"{name} is not a class or function of cinn_jax or jax.nn")


def _qualified(value):
  return getattr(value, "__qualname__", "")


class _Construction:
  """One module that is being built."""

  def __init__(self):
    self._modules = []

  def of(self, value):
    if type(value) in (*_PLAIN, float):
      return value
    if isinstance(value, list):
      return [self.of(part) for part in value]
    if not isinstance(value, dict) or not value:
      raise ValueError(f"Not an architecture: {value!r:.80}")
    kind = next(iter(value))
    if kind == "float":
      return float(value["float"])
    if kind == "tuple":
      return tuple(self.of(part) for part in value["tuple"])
    if kind == "dict":
      return {self.of(key): self.of(part) for key, part in value["dict"]}
    if kind == "module":
      return self._module(value)
    if kind == "again":
      return self._modules[value["again"]]
    if kind == "partial":
      keywords = {k: self.of(v) for k, v in value["keywords"].items()}
      args = [self.of(part) for part in value["args"]]
      return functools.partial(_find(value["partial"]), *args, **keywords)
    if kind == "array":
      return _to_array(value)
    if kind == "dtype":
      return _to_dtype(value)
    if kind == "name":
      return _find(value["name"])
    raise ValueError(f"Not an architecture: {kind!r:.80}")

  def _module(self, value):
    cls = _find(value["module"])
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
      raise Unknown(f"{value['module']!r:.80} is not a module")
    place = len(self._modules)
    self._modules.append(None)
    fields = {name: self.of(part) for name, part in value["fields"].items()}
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    if unknown := sorted(set(fields) - known):
      raise Unknown(f"{cls.__name__} has no field {unknown[0]!r:.80}")
    # Outside of any module that may be at work, as a part of none.
    self._modules[place] = cls(**fields, parent=None, name=value.get("name"))
    return self._modules[place]


def _find(name):
  """Returns the class or function of a name; raises Unknown."""
  if not isinstance(name, str):
    return name  # a part that `foreign` left, never in a file of JSON
  if (found := _found(name)) is None:
    raise Unknown(f"{name!r:.120} is not a class or function of cinn_jax")
  return found


def _found(name):
  """Returns the class or function of a name that is allowed, or None."""
  path, _, last = _MOVED.get(name, name).rpartition(".")
  if path in _LIBRARIES:
    found = getattr(_LIBRARIES[path], last, None)
    return found if callable(found) and not last.startswith("_") else None
  if not any(path == room or path.startswith(f"{room}.") for room in _ROOMS):
    return None
  try:
    found = getattr(importlib.import_module(path), last, None)
  except ImportError:
    return None
  # Not what a file of these rooms has imported.
  is_own = callable(found) and getattr(found, "__module__", None) == path
  return found if is_own else None


def _array(value):
  array = np.asarray(value)
  kind = "jax" if isinstance(value, jax.Array) else "numpy"
  if isinstance(value, np.generic):
    kind = "scalar"
  return {
    "array": base64.b64encode(array.tobytes()).decode(),
    "dtype": array.dtype.name,
    "shape": list(array.shape),
    "kind": kind,
  }


def _to_array(value):
  flat = np.frombuffer(
    base64.b64decode(value["array"]), jnp.dtype(value["dtype"])
  )
  array = flat.reshape(value["shape"]).copy()
  if value["kind"] == "scalar":
    return array[()]
  return jnp.asarray(array) if value["kind"] == "jax" else array


def _kind_of_dtype(value):
  """Returns whose data type a value is, or None if it is none."""
  if isinstance(value, np.dtype):
    return "dtype"
  name = getattr(value, "__name__", None)
  if isinstance(name, str) and hasattr(value, "dtype"):
    for kind, library in (("jax", jnp), ("numpy", np)):
      if getattr(library, name, None) is value:
        return kind
  return None


def _to_dtype(value):
  dtype = jnp.dtype(value["dtype"])
  if value["kind"] == "dtype":
    return dtype
  return dtype.type if value["kind"] == "numpy" else getattr(jnp, dtype.name)
