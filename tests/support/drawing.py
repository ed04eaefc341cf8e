"""Random data, conditions and variables for tests, without compiling draws."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections import COLLECTIONS

# Collections that are not learned and that checkpoints keep.
_FIXED = [name for name in COLLECTIONS if name != "diagnostics"]


def normal(seed, shape, dtype=np.float64):
  """Draws an array from the standard normal distribution."""
  return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def draw_like(tree, seed, dtype=np.float64, scale=1.0):
  """Returns a tree like `tree`, with leaves drawn from N(0, scale^2)."""
  leaves, treedef = jax.tree.flatten(tree)
  draws = [
    scale * normal(seed + i, leaf.shape, dtype) for i, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(treedef, draws)


def abstract_batch(shapes, batch, dtype=np.float64):
  """Turns a pytree of shapes of one example into arrays without values."""

  def is_shape(node):
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)

  return jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct((batch, *shape), dtype),
    shapes,
    is_leaf=is_shape,
  )


def draw_variables(bijection, seed, x, cond=None, scale=0.3):
  """Returns variables for `x` and `cond`: random parameters, its own constants.

  Parameters are drawn from N(0, scale^2). Initial ones would make couplings the
  identity, which hides mistakes, and compiling their initialisers would take
  longer than most tests.
  """
  dtype = jax.tree.leaves(x)[0].dtype
  params = {}

  def init_constants(key, x, cond):
    variables = bijection.init(key, x, cond)
    # The shapes of the parameters, noted while this is traced.
    params.update(jax.eval_shape(lambda: variables.get("params", {})))
    return {k: variables[k] for k in _FIXED if k in variables}

  def cast(leaf):
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(dtype) if is_float else leaf

  key = jax.random.key(seed, impl="rbg")  # compiles fast
  traced = jax.jit(init_constants).trace(key, x, cond)
  variables = traced.out_info
  if variables:
    constants = traced.lower().compile()(key, x, cond)
    variables = jax.tree.map(cast, constants)
  if params:
    variables["params"] = draw_like(params, seed, dtype, scale)
  return variables
