"""Gradients of stacked blocks that keep no activations.

A block of a flow can be run backwards. So instead of keeping the input of
every block for the gradient, the backward pass starts from the last output,
rebuilds each block's input by its inverse, and differentiates that block alone
(Gomez et al. 2017, RevNet; Jacobsen et al. 2018, i-RevNet). Memory does not
grow with the number of blocks; a step costs about one more forward pass.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

_UNDO = {"forward": "inverse", "inverse": "forward"}


def run_reversibly(run, block: nn.Module, depth: int, direction: str, x, cond):
  """`run(block, x, cond)`, with a gradient that rebuilds what is not kept.

  Values and what the block reports are those of `run` itself; only its
  derivative is cut off and another put in its place. Forward-mode derivatives
  are refused by JAX.

  Args:
    run: `run(block, x, cond) -> (out, log_det)` applies copies of `block` one
      after the other, whose variables are stacked on a leading axis: from the
      first to the last if `direction` is "forward", else from the last.
    block: bound to those variables, with methods "forward" and "inverse". They
      must be inverses of each other for one `cond`, and use running statistics
      as they are before this step.
    depth: how many copies.
    direction: the method that `run` calls.
  """
  unbound, variables = block.unbind()
  variables = {k: v for k, v in variables.items() if k != "diagnostics"}
  # A copy of the tree, in whose place `run` puts moved running statistics.
  variables = jax.tree.map(lambda leaf: leaf, variables)
  cut = jax.lax.stop_gradient
  constant = nn.map_variables(run, ("params", "constants"), cut)
  out, log_det = cut(constant(block, *cut((x, cond))))
  rejoin = jax.custom_vjp(lambda variables, x, cond, out: out)

  def keep(variables, x, cond, out):
    # What is kept has the same gradient, for derivatives of higher order.
    out = rejoin(variables, x, cond, out)
    return out, (variables, cond, out[0])

  rejoin.defvjp(keep, functools.partial(_gradients, unbound, depth, direction))
  return rejoin(variables, x, cond, (out, log_det))


def _gradients(block, depth, direction, kept, cotangents):
  """Those of the stacked variables, the stack's input and the condition."""
  variables, cond, out = kept
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


def _inexact(cotangents):
  """None, which means zero, in place of the cotangents of integers."""
  return jax.tree.map(
    lambda leaf: None if leaf.dtype == jax.dtypes.float0 else leaf, cotangents
  )


def _zeros(tree):
  return jax.tree.map(
    lambda leaf: (
      jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else None
    ),
    tree,
  )
