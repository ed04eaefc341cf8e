"""A flow's own units: x and cond to zero mean and unit variance.

`fit` measures the means and standard deviations and keeps them among the flow's
variables, in the collection "constants":

  {"x": {"mean": [C], "std": [C]}, "cond": {"0": {"mean": [D], "std": [D]}}}

Each is per channel (the last axis). The condition's entries are numbered in the
order of its leaves; leaves without an entry stay as they are.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Condition,
  channels_log_det,
  per_channel,
)

NAME = "standardization"


def of(variables: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the standardization in a flow's variables; {} if there is none."""
  return variables.get("constants", {}).get(NAME, {})


def with_standardization(
  variables: Mapping[str, Any], constants: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the variables with this standardization; {} removes it."""
  others = {k: v for k, v in variables.items() if k != "constants"}
  kept = {k: v for k, v in variables.get("constants", {}).items() if k != NAME}
  if constants:
    kept[NAME] = constants
  return {**others, "constants": kept} if kept else others


def standardize_x(constants: Mapping[str, Any], x: Array) -> Array:
  """Returns x [B, ..., C] in the flow's units."""
  if "x" not in constants:
    return x
  return _standardized(x, constants["x"])


def restore_x(constants: Mapping[str, Any], x: Array) -> Array:
  """Returns x [B, ..., C] in the data's units, the inverse of the above."""
  if "x" not in constants:
    return x
  mean, std = (per_channel(constants["x"][k], x) for k in ("mean", "std"))
  return x * std + mean


def standardize_cond(
  constants: Mapping[str, Any], cond: Condition
) -> Condition:
  """Returns the condition in the flow's units."""
  entries = constants.get("cond", {})
  if not entries:
    return cond
  leaves, tree = jax.tree.flatten(cond)
  leaves = [
    _standardized(jnp.asarray(leaf), entries[f"{k}"])
    if f"{k}" in entries
    else leaf
    for k, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(tree, leaves)


def log_det(constants: Mapping[str, Any], x: Array) -> Array | float:
  """Returns the log-det [B] of `standardize_x`, or 0.0 if it does nothing."""
  if "x" not in constants:
    return 0.0
  return -channels_log_det(jnp.log(constants["x"]["std"]), x)


def _standardized(values, entry):
  if values.ndim < 2 or values.shape[-1] != len(entry["mean"]):
    # A vector [B], or a wrong shape, which the flow itself reports.
    if values.ndim != 1 or len(entry["mean"]) != 1:
      return values
    return (values - entry["mean"][0]) / entry["std"][0]
  mean, std = (per_channel(entry[k], values) for k in ("mean", "std"))
  return (values - mean) / std
