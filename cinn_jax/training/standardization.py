"""Means and standard deviations of training data, for the flow to keep."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.training import masks, own_units
from cinn_jax.training.examples import Examples, column_name

# Above this |mean| / std, float32 leaves too few digits to the deviations.
_MAX_RATIO = 2e4
# The standard deviations that float32 can divide by.
_RANGE = 1e-36, 1e36


def measure(examples: Examples, module: Any) -> dict[str, Any]:
  """Returns a standardization as `bijections.standardization` describes it.

  Columns of x that a `Bounded` at the flow's start bounds keep their units, and
  so does all of x if the flow has other layers in the data's units. Flows of
  pictures get their conditions as they are. For others, conditions that are
  integers, bools, masks or only zeros and ones keep their values. The
  values that the "mask" next to them hides do not count.

  Raises:
    ValueError: for a column that is constant, or out of float32's range.
  """
  x, cond, weights = examples.x, examples.cond, examples.weights
  constants: dict[str, Any] = {}
  own = own_units.keeps_units(module, x.shape[-1] if x.ndim > 1 else 1)
  if not own.all():
    constants["x"] = _measure("x", x, weights)
    constants["x"]["mean"][own] = 0
    constants["x"]["std"][own] = 1
  entries = {}
  leaves = jax.tree.leaves_with_path(cond)
  if own_units.keeps_condition(module):
    leaves = []
  for k, (path, leaf) in enumerate(leaves):
    if not _is_measurement(path, leaf):
      continue
    mask = masks.mask_of(cond, path, leaf)
    mask = mask.astype(np.float64) if mask is not None and mask.any() else None
    if mask is not None and weights is not None:
      mask = mask * weights.reshape(-1, *[1] * (mask.ndim - 1))
    name = f"cond{jax.tree_util.keystr(path)}"
    entries[f"{k}"] = _measure(name, leaf, weights if mask is None else mask)
  if entries:
    constants["cond"] = entries
  return constants


def apply(constants: Mapping[str, Any], examples: Examples) -> Examples:
  """Returns the examples in the flow's units, computed in float64."""
  x, cond = examples.x, examples.cond
  if "x" in constants:
    x = _standardized("x", x, constants["x"])
  entries = constants.get("cond", {})
  leaves = [
    _standardized(f"cond{jax.tree_util.keystr(path)}", leaf, entries[f"{k}"])
    if f"{k}" in entries
    else leaf
    for k, (path, leaf) in enumerate(jax.tree.leaves_with_path(cond))
  ]
  cond = jax.tree.unflatten(jax.tree.structure(cond), leaves)
  return examples._replace(x=x, cond=cond)


def _is_measurement(path, leaf):
  if not jnp.issubdtype(leaf.dtype, jnp.floating) or masks.is_mask(path):
    return False
  # One-hot vectors and other marks.
  is_mark = bool(np.all((leaf == 0) | (leaf == 1)))
  return not (is_mark and np.any(leaf != leaf[:1]))


def _measure(name, values, weights):
  """Returns the mean and the standard deviation per channel [C]."""
  columns = values.shape[-1] if values.ndim > 1 else 1
  rows = values.reshape(-1, columns)
  weights = _expand(weights, values)
  shown = rows if weights is None else rows[weights > 0]
  weights = None if weights is None else weights[weights > 0]
  low, high = np.min(shown, axis=0), np.max(shown, axis=0)
  if np.any(low == high):
    column = column_name(name, values.ndim, int(np.argmax(low == high)))
    raise ValueError(
      f"{column} is constant, so it cannot be brought to unit variance: leave"
      " it out, or pass standardize=False."
    )
  mean, std = np.empty(columns), np.empty(columns)
  for k in range(columns):  # One column at a time, to save memory.
    column = shown[:, k].astype(np.float64)
    mean[k] = np.average(column, weights=weights)
    with np.errstate(over="ignore"):
      std[k] = np.sqrt(np.average((column - mean[k]) ** 2, weights=weights))
  _check_range(name, values.ndim, mean, std)
  dtype = np.promote_types(
    np.float32, jax.dtypes.canonicalize_dtype(_float_type(values))
  )
  return {"mean": mean.astype(dtype), "std": std.astype(dtype)}


def _expand(weights, values):
  """Returns weights for each row of `values` [..., C], or None."""
  if weights is None:
    return None
  leading = values.shape[:-1] if values.ndim > 1 else values.shape
  if weights.ndim > 1:
    weights = weights[..., 0]
  weights = weights.reshape(
    weights.shape + (1,) * (len(leading) - weights.ndim)
  )
  return np.broadcast_to(weights, leading).reshape(-1)


def _check_range(name, ndim, mean, std):
  low, high = _RANGE
  for k in np.flatnonzero(~((std > low) & (std < high) & (abs(mean) < high))):
    raise ValueError(
      f"{column_name(name, ndim, k)} has mean {mean[k]:.3g} and standard"
      f" deviation {std[k]:.3g}, beyond the range of float32: choose another"
      " unit."
    )
  if jax.config.jax_enable_x64:
    return
  for k in np.flatnonzero(abs(mean) > _MAX_RATIO * std)[:1]:
    warnings.warn(
      f"{column_name(name, ndim, k)} has mean {mean[k]:.3g} and standard"
      f" deviation {std[k]:.3g}: float32 holds few digits of its deviations, so"
      " subtract a constant from it first.",
      RuntimeWarning,
      stacklevel=2,
    )


def _float_type(values):
  return values.dtype if values.dtype.kind == "f" else np.float32


def _standardized(name, values, entry):
  channels = values.shape[-1] if values.ndim > 1 else 1
  if channels != len(entry["mean"]):
    raise ValueError(
      f"{name} has {channels} columns, but was standardized with"
      f" {len(entry['mean'])}: pass data such as those of the training."
    )
  if values.ndim < 2:
    mean, std = entry["mean"][0], entry["std"][0]
  else:
    mean, std = entry["mean"], entry["std"]
  mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
  dtype = np.promote_types(
    np.float32, jax.dtypes.canonicalize_dtype(_float_type(values))
  )
  result = np.empty(values.shape, dtype)
  # A part at a time, since float64 takes twice the memory.
  step = max(1, 2**20 // max(1, values[:1].size))
  for k in range(0, len(values), step):
    part = values[k : k + step].astype(np.float64)
    result[k : k + step] = (part - mean) / std
  return result
