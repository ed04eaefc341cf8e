"""Parts of a flow that are in the own units of data and conditions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow, PictureFlow
from cinn_jax.models.hcflow import HierarchicalFlow
from cinn_jax.models.networks.token_condition import TokenCondition
from cinn_jax.models.pairs.paired_flow import PairedFlow
from cinn_jax.models.pyramid import PyramidFlow

_KINDS = (bj.Bounded, bj.Standardize, bj.Dequantization, HierarchicalFlow)
_OF_PICTURES = (HierarchicalFlow, PairedFlow, PictureFlow, PyramidFlow)


def keeps_units(module: Any, channels: int) -> np.ndarray:
  """Returns [C]: True for the channels of x that must keep their units.

  They are those that a `Bounded` at the flow's start bounds; or all, if the
  flow has other layers in the data's units.
  """
  count = sum(isinstance(part, _KINDS) for part in layers_of(module))
  low, high = bounds_of(module, channels)
  bounded = np.isfinite(low) | np.isfinite(high)
  if isinstance(first_layer(module), bj.Bounded):
    count -= 1
  return np.ones(channels, bool) if count else bounded


def keeps_condition(module: Any) -> bool:
  """Tells if a flow is made for conditions in their own units.

  So are the flows that are given pictures: they bound or rescale them
  themselves, compare them with x, or show them to a classifier.
  """
  parts = layers_of(module)
  networks = [getattr(part, "condition_net", None) for part in parts]
  return (
    any(isinstance(part, _OF_PICTURES) for part in parts)
    or any(isinstance(network, TokenCondition) for network in networks)
    or any(getattr(part, "additions", None) is not None for part in parts)
  )


def bounds_of(module: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns low and high [C] that a flow's first layer sets to x.

  They are infinite for channels without a bound.
  """
  layer = first_layer(module)
  if not isinstance(layer, bj.Bounded):
    return np.full(channels, -np.inf), np.full(channels, np.inf)

  def numbers_of(bound, absent):
    listed = [bound] * channels if np.ndim(bound) == 0 else list(bound)
    if len(listed) != channels:
      return np.full(channels, absent)  # The layer itself reports it.
    return np.array([absent if n is None else n for n in listed], np.float64)

  return numbers_of(layer.low, -np.inf), numbers_of(layer.high, np.inf)


def first_layer(module: Any) -> Any:
  """Returns the layer that sees x first."""
  while True:
    if isinstance(module, bj.Chain) and module.parts:
      module = module.parts[0]
    elif isinstance(module, bj.Conditioned | ConditionalFlow):
      module = module.bijection
    else:
      return module


def layers_of(module: Any) -> list[Any]:
  """Returns a module and all modules that it was given."""
  found: list[Any] = []

  def visit(node):
    if isinstance(node, bj.Bijection):
      found.append(node)
      for name in node.__dataclass_fields__:
        if name not in ("parent", "name"):
          visit(getattr(node, name, None))
    elif isinstance(node, Mapping):
      visit(list(node.values()))
    elif isinstance(node, list | tuple):
      for part in node:
        visit(part)

  visit(module)
  return found
