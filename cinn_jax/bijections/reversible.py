"""Gradients of stacked blocks that keep no activations.

A block of a flow can be run backwards. So the backward pass does not need the
stored input of every block: it starts from the last output, rebuilds each
block's input by its inverse, and differentiates that block alone (Gomez et al.
2017, RevNet; Jacobsen et al. 2018, i-RevNet). Memory does not grow with the
number of blocks; a step costs about one more forward pass.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition, PyTree

_UNDO = {"forward": "inverse", "inverse": "forward"}


def run_reversibly(
  run: Callable[[nn.Module, Array, Condition], tuple[Array, Array]],
  block: nn.Module,
  depth: int,
  direction: str,
  x: Array,
  cond: Condition,
) -> tuple[Array, Array]:
  """Returns `run(block, x, cond)`, with a gradient that rebuilds inputs.

  Values and the block's reports are those of `run` itself; only its derivative
  is replaced. JAX raises TypeError for forward-mode derivatives.

  Args:
    run: `run(block, x, cond) -> (out, log_det)`, which applies copies of
      `block` one after the other. Their variables are stacked on a leading
      axis; they run from the first to the last if `direction` is "forward",
      else from the last to the first.
    block: Bound to those variables, with methods "forward" and "inverse". These
      must be inverses of each other for a given `cond`, and must use running
      statistics as they are before this step.
    depth: Number of copies.
    direction: The method that `run` calls.
  """
  unbound, variables = block.unbind()
  variables = {k: v for k, v in variables.items() if k != "diagnostics"}
  # Copy the tree, because `run` replaces running statistics in the original.
  variables = jax.tree.map(lambda leaf: leaf, variables)
  cut = jax.lax.stop_gradient
  constant = nn.map_variables(run, ("params", "constants"), cut)
  out, log_det = cut(constant(block, *cut((x, cond))))
  rejoin = jax.custom_vjp(lambda variables, x, cond, out: out)

  def keep(variables, x, cond, out):
    # Residuals pass through it too, so that higher derivatives are right.
    out = rejoin(variables, x, cond, out)
    return out, (variables, cond, out[0])

  rejoin.defvjp(keep, functools.partial(_gradients, unbound, depth, direction))
  return rejoin(variables, x, cond, (out, log_det))


def _gradients(
  block: nn.Module,
  depth: int,
  direction: str,
  residuals: tuple[PyTree, Condition, Array],
  cotangents: tuple[Array, Array],
) -> tuple[PyTree, Array, Condition, None]:
  """Returns those of the stacked variables, the stack's input and `cond`."""
  variables, cond, out = residuals
  out_bar, log_det_bar = cotangents
  run = functools.partial(block.apply, method=direction)

  def back(carry, own):
    out, out_bar, cond_bar = carry
    x, _ = block.apply(own, out, cond, method=_UNDO[direction])
    _, vjp = jax.vjp(run, own, x, cond)
    own_bar, x_bar, added = map(_inexact, vjp((out_bar, log_det_bar)))
    cond_bar = jax.tree.map(jnp.add, cond_bar, added)
    return (x, x_bar, cond_bar), own_bar

  (_, x_bar, cond_bar), variables_bar = jax.lax.scan(
    back,
    (out, out_bar, _zeros(cond)),
    variables,
    length=depth,
    reverse=direction == "forward",
  )
  return variables_bar, x_bar, cond_bar, None


def _inexact(cotangents: PyTree) -> PyTree:
  """Replaces the cotangents of integers by None, which means zero."""
  return jax.tree.map(
    lambda leaf: None if leaf.dtype == jax.dtypes.float0 else leaf, cotangents
  )


def _zeros(tree: PyTree) -> PyTree:
  return jax.tree.map(
    lambda leaf: (
      jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else None
    ),
    tree,
  )
