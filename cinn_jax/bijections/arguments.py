"""Arguments of a flow's functions: read and checked before JAX sees them."""

import functools
import inspect
import numbers
import operator
from collections.abc import Callable, Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import COLLECTIONS, PyTree

_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function of a flow that says in a sentence what it cannot take.

  Lists and other things that NumPy reads as arrays become arrays. The names of
  the function's arguments say what they are.

  Raises:
    ValueError: from the function returned, naming the argument.
  """
  signature = inspect.signature(function)

  @functools.wraps(function)
  def call(*args, **kwargs):
    given = signature.bind(*args, **kwargs).arguments
    for name, value in given.items():
      given[name] = _READERS[name](value)
    try:
      return function(**given)
    except flax.errors.FlaxError as error:
      raise ValueError(
        "variables do not fit this flow and the shapes of x and cond"
        f" ({_first_line(error)}): pass what init or fit returned for them."
      ) from error
    except (TypeError, IndexError, ZeroDivisionError) as error:
      shapes = ", ".join(
        f"{name} {jax.tree.map(np.shape, value)}"
        for name, value in given.items()
        if name in ("x", "z", "cond")
      )
      raise ValueError(
        f"This flow cannot take {shapes or 'these arguments'}:"
        f" {_first_line(error)}"
      ) from error

  return call


def read_arrays(name: str, tree: PyTree) -> PyTree:
  """Returns a pytree of arrays; a list of numbers is one array.

  Raises:
    ValueError: naming the leaf.
  """

  def read(path, leaf):
    if isinstance(leaf, _ARRAYS):
      array = leaf
    else:
      array = _to_numpy(f"{name}{jax.tree_util.keystr(path)}", leaf)
    return array

  return jax.tree.map_with_path(read, tree, is_leaf=is_plain_list)


def check_key(rng: Any) -> Any:
  """Returns `rng`; raises ValueError unless it is one JAX random key."""
  dtype = getattr(rng, "dtype", None)
  new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
  old = dtype == np.uint32 and rng.shape in ((2,), (4,))
  if not old and not (new and not rng.shape):
    kind = f"keys of shape {list(rng.shape)}" if new else type(rng).__name__
    raise ValueError(
      f"rng must be one JAX random key such as jax.random.key(0), got {kind}."
    )
  return rng


def check_module(module: Any, event_shape: Any) -> tuple[int, ...]:
  """Returns the event's shape as a tuple of integers.

  Raises:
    ValueError: unless these are a bijection and a shape.
  """
  if not isinstance(module, nn.Module) or not hasattr(module, "inverse"):
    kind = (
      module.__name__ if isinstance(module, type) else type(module).__name__
    )
    raise ValueError(
      f"module must be a bijection such as vector_flow(2), got {kind}."
    )
  try:
    shape = tuple(map(operator.index, event_shape))
  except TypeError:
    shape = (0,)
  if not shape or min(shape) < 1:
    raise ValueError(
      "event_shape must be the shape of one x, such as (2,) or (64, 64, 3), got"
      f" {event_shape!r}."
    )
  return shape


def check_rows(x: Any, cond: PyTree) -> None:
  """Raises ValueError unless x and every leaf of `cond` have as many rows."""
  rows = np.shape(x)[:1]
  if rows == (0,):
    raise ValueError("x has no rows: pass at least one example.")
  for path, leaf in jax.tree.leaves_with_path(cond):
    if np.shape(leaf)[:1] != rows:
      raise ValueError(
        f"x has {rows[0]} rows, but cond{jax.tree_util.keystr(path)} has an"
        f" array of shape {list(np.shape(leaf))}: pass one condition per row."
      )


def variables_of(value: Any) -> Mapping[str, Any]:
  """Returns variables, or those of a whole `FitResult`.

  Raises:
    ValueError: if they are not a dict.
  """
  variables = getattr(value, "variables", value)
  if not isinstance(variables, Mapping):
    raise ValueError(
      "variables must be what init or fit returned, a dict, got"
      f" {type(variables).__name__}."
    )
  return variables


def _check_variables(variables):
  variables = variables_of(variables)
  if variables and not {"params", *COLLECTIONS} & set(variables):
    raise ValueError(
      "variables must be what init or fit returned, with an entry 'params', got"
      f" entries {', '.join(map(repr, sorted(variables)))}."
    )
  for path, leaf in jax.tree.leaves_with_path(variables):
    if not isinstance(leaf, _ARRAYS):
      raise ValueError(
        f"variables{jax.tree_util.keystr(path)} must be an array, got"
        f" {type(leaf).__name__}."
      )
  return variables


def _check_count(name, value):
  try:
    count = operator.index(value)
  except jax.errors.TracerIntegerConversionError:
    raise ValueError(
      f"{name} must be known when JAX compiles: pass static_argnames={name!r}"
      " to jax.jit."
    ) from None
  except TypeError:
    count = 0
  if count < 1:
    raise ValueError(f"{name} must be a whole number above 0, got {value!r}.")
  return count


def _check_batch_size(batch_size):
  return None if batch_size is None else _check_count("batch_size", batch_size)


def _read_temperature(temperature):
  return read_arrays("temperature", temperature)


def is_plain_list(node: Any) -> bool:
  """Tells lists of numbers, which are one array, from lists of arrays."""
  if not isinstance(node, list | tuple) or not node:
    return False
  return all(isinstance(n, numbers.Number | str) for n in jax.tree.leaves(node))


def _to_numpy(name, value):
  try:
    array = np.asarray(value)
  except Exception as error:  # whatever an object's __array__ raises
    raise ValueError(
      f"{name} cannot be read as an array ({_first_line(error)}): pass a NumPy"
      " or JAX array."
    ) from None
  if array.dtype.kind not in "fiub" and not jnp.issubdtype(
    array.dtype, jnp.floating
  ):
    raise ValueError(
      f"{name} must be an array of numbers, got {type(value).__name__}."
    )
  return array


def _first_line(error):
  return str(error).strip().partition("\n")[0].rstrip(".")


_READERS: dict[str, Callable[[Any], Any]] = {
  "variables": _check_variables,
  "rng": check_key,
  "x": functools.partial(read_arrays, "x"),
  "z": functools.partial(read_arrays, "z"),
  "cond": functools.partial(read_arrays, "cond"),
  "num_samples": functools.partial(_check_count, "num_samples"),
  "batch_size": _check_batch_size,
  "temperature": _read_temperature,
}
