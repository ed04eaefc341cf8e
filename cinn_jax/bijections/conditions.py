"""Checks of conditions, and of what networks make of them."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from cinn_jax.bijections.base import Array, Condition


def check_condition(x: Array, cond: Condition) -> None:
  """Raises ValueError if a leaf of `cond` does not fit the data `x`.

  A leaf is a vector [B, C], which is broadcast over an image, or has the batch
  and spatial shape of the data.
  """
  for leaf in jax.tree.leaves(cond):
    if leaf.ndim < 2:
      raise ValueError(
        f"A condition is [B, C] or [B, H, W, C], got shape {leaf.shape}: pass"
        " cond[None] for a single one, cond[:, None] for one number per"
        " example, and class labels one-hot."
      )
    if leaf.shape[0] != x.shape[0]:
      raise ValueError(
        f"The condition's batch is {leaf.shape[0]}, the data's"
        f" {x.shape[0]}: pass one condition per example, or vmap over latents."
      )
    if leaf.ndim > 2 and leaf.shape[1:-1] != x.shape[1:-1]:
      raise ValueError(
        f"The condition of shape {leaf.shape} does not fit data of shape"
        f" {x.shape}: pass features at this level's resolution"
        f" {list(x.shape[1:-1])}, or a vector [B, C]."
      )


def check_condition_channels(
  module: nn.Module, leaves: Sequence[Array]
) -> None:
  """Raises ValueError unless a condition has the channels of initialisation.

  Otherwise a missing condition would go unnoticed, as if it were zero.

  Args:
    module: Bound, with a layer "condition_0", "condition_1", ... for each leaf.
    leaves: The condition's leaves [B, ..., C].
  """
  if module.is_initializing():
    return
  params = module.variables.get("params", {})
  count = sum(name.startswith("condition_") for name in params)
  wanted = [params[f"condition_{i}"]["kernel"].shape[-2] for i in range(count)]
  got = [leaf.shape[-1] for leaf in leaves]
  if wanted != got:
    raise ValueError(
      f"This flow was initialised with {_describe(wanted)}, and is given"
      f" {_describe(got)}."
    )


def _describe(channels):
  if not channels:
    return "no condition"
  return f"a condition of {' + '.join(map(str, channels))} channels"


def check_head(head: Array, like: Array, features: int) -> None:
  """Raises ValueError unless a network returned one head per position.

  A head of fewer positions would be spread over all of them by broadcasting,
  but counted only once in log_det.

  Args:
    head: What the network returned.
    like: The numbers [B, ..., C] that it is for.
    features: The number of features that it was asked for.
  """
  expected = (*like.shape[:-1], features)
  if head.shape != expected:
    raise ValueError(
      f"A network (u, cond, features) returned shape {list(head.shape)} for"
      f" features={features}, expected {list(expected)}."
    )
