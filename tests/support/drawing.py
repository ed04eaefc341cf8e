"""Random data, conditions and variables for tests, drawn without compiling."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections import COLLECTIONS

FIXED = [name for name in COLLECTIONS if name != "diagnostics"]


def normal(seed, shape, dtype=np.float64):
  return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def draw_like(tree, seed, dtype=np.float64, scale=1.0):
  """Fresh normal draws in the place of the leaves of `tree`."""
  leaves, tree = jax.tree.flatten(tree)
  drawn = [
    scale * normal(seed + i, leaf.shape, dtype) for i, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(tree, drawn)


def abstract_batch(shapes, batch, dtype=np.float64):
  """A pytree of shapes of one example, as arrays without values."""

  def is_shape(node):
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)

  return jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct((batch, *shape), dtype),
    shapes,
    is_leaf=is_shape,
  )


def draw_variables(bijection, seed, x, cond=None, scale=0.3):
  """Variables for `x` and `cond`: parameters from N(0, scale^2), constants own.

  Initial parameters would make couplings the identity, which hides mistakes;
  and compiling their draws would cost more than most tests.
  """

  dtype = jax.tree.leaves(x)[0].dtype

  def init_constants(key, x, cond):
    variables = bijection.init(key, x, cond)
    return {k: variables[k] for k in FIXED if k in variables}

  def cast(leaf):
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(dtype) if is_float else leaf

  key = jax.random.key(seed, impl="rbg")  # compiles fast
  variables = jax.tree.map(cast, jax.jit(init_constants)(key, x, cond))
  abstract = jax.eval_shape(bijection.init, key, x, cond)
  if "params" in abstract:
    variables["params"] = draw_like(abstract["params"], seed, dtype, scale)
  return variables
