"""Checks of the options of `fit`: one sentence for each that is wrong."""

import math
import operator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cinn_jax.bijections.arguments import check_key
from cinn_jax.bijections.base import PyTree
from cinn_jax.flow import Flow

_COUNTS = (
  "num_epochs",
  "steps_per_epoch",
  "batch_size",
  "patience",
)


def check(flow: Any, rng: Any, **options: Any) -> dict[str, Any]:
  """Returns the counts among the options as integers, or None.

  Raises:
    ValueError: for an option of another kind or out of range.
  """
  if not isinstance(flow, Flow):
    raise ValueError(
      f"flow must come from make_flow, got {type(flow).__name__}: pass"
      " make_flow(module, event_shape)."
    )
  if flow.objective is not None:
    raise ValueError(
      "fit trains flows by maximum likelihood, but this is"
      f" {flow.objective.title}: train it with --mode=train."
    )
  check_key(rng)
  fraction = options["validation_fraction"]
  if (
    fraction is not None
    and not 0 < _number("validation_fraction", fraction) < 1
  ):
    raise ValueError(
      f"validation_fraction must be between 0 and 1, got {fraction}."
    )
  rate = options["learning_rate"]
  if not callable(rate) and not 0 <= _number("learning_rate", rate) < math.inf:
    raise ValueError(
      f"learning_rate must be a finite number or an optax schedule, got {rate}."
    )
  clip_norm = options["clip_norm"]
  if not _number("clip_norm", clip_norm) >= 0:
    raise ValueError(f"clip_norm must be 0 or above, got {clip_norm}.")
  decay = options["weight_decay"]
  if decay is not None and not 0 <= _number("weight_decay", decay) < math.inf:
    raise ValueError(f"weight_decay must be 0 or above, got {decay}.")
  if not isinstance(options["standardize"], bool | np.bool_):
    raise ValueError(
      f"standardize must be True or False, got {options['standardize']!r}."
    )
  if options["invalid"] not in ("raise", "skip"):
    raise ValueError(
      f"invalid must be 'raise' or 'skip', got {options['invalid']!r}."
    )
  optimizer = options["optimizer"]
  if optimizer is not None and not (
    hasattr(optimizer, "init") and hasattr(optimizer, "update")
  ):
    raise ValueError(
      "optimizer must be an optax optimizer such as optax.adam(1e-3), got"
      f" {type(optimizer).__name__}."
    )
  counts: dict[str, Any] = {
    name: _count(name, options[name]) for name in _COUNTS
  }
  size = options["init_batch_size"]
  counts["init_batch_size"] = (
    None if size is None else _count("init_batch_size", size)
  )
  return counts


def read_variables(variables: Any) -> Mapping[str, PyTree] | None:
  """Returns variables; takes them from a `FitResult`.

  Raises:
    ValueError: for anything else than a flow's variables.
  """
  variables = getattr(variables, "variables", variables)
  if variables is None:
    return None
  if not isinstance(variables, Mapping) or "params" not in variables:
    kind = type(variables).__name__
    raise ValueError(
      "variables must be a flow's variables, from fit or flow.init: a dict with"
      f" an entry 'params', got {kind}."
    )
  return variables


def check_fit(expected: PyTree, variables: PyTree) -> None:
  """Raises ValueError unless variables have the shapes that a flow expects.

  Args:
    expected: Parameters, or their shapes and types, that `flow.init` gives.
    variables: Parameters from elsewhere.
  """
  want, got = (_shapes(tree) for tree in (expected, variables))
  for path in sorted({*want, *got}):
    if want.get(path) != got.get(path):
      raise ValueError(
        f"variables do not fit this flow and data: params{path} is"
        f" {got.get(path, 'missing')}, expected {want.get(path, 'none')}."
      )


def _shapes(tree):
  return {
    jax.tree_util.keystr(path): list(np.shape(leaf))
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _number(name, value):
  try:
    return float(value)
  except (TypeError, ValueError):
    raise ValueError(
      f"{name} must be a number, got {type(value).__name__}."
    ) from None


def _count(name, value):
  try:
    count = operator.index(value)
  except TypeError:
    raise ValueError(f"{name} must be a whole number, got {value!r}.") from None
  if count < 1:
    raise ValueError(f"{name} must be at least 1, got {count}.")
  return count
