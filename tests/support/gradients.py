"""Gradients of stacked flows, by memory policy."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import bijections as bj
from tests.support.drawing import (
  abstract_batch,
  draw_like,
  draw_variables,
  normal,
)
from tests.support.registry import CASES, Case, two_levels

BATCH, DEPTH = 2, 3
KINDS = [
  "coupling",
  "coupling_one_sided",
  "coupling_real_nvp",
  "coupling_gin",
  "coupling_additive",
  "coupling_spline",
  "coupling_checkerboard",
  "coupling_spatial_rows",
  "injector",
]


def case(name, memory) -> Case:
  """Returns a stack of the registered bijection `name` with a memory policy.

  "glow" stacks a block with all kinds of mixings; "multi_scale" is the
  registered flow, whose parts are stacks.
  """
  if name == "multi_scale":
    return CASES[name]._replace(bijection=two_levels(memory))
  like = CASES["coupling_one_sided" if name == "glow" else name]
  block = like.bijection
  if name == "glow":  # Its mixings have integers and matrices as variables.
    mixings = (bj.ActNorm(), bj.InvertibleConv1x1(), bj.Householder(2))
    block = bj.Chain((*mixings, block, bj.Permutation(), bj.Orthogonal()))
  return like._replace(bijection=bj.Stack(block, DEPTH, memory))


def assert_as_stored(name, memory, direction, dtype, tolerance):
  """Fails unless a policy's values and gradients equal those of "store".

  Gradients are with respect to the variables, the input and the condition, for
  arbitrary cotangents of output and log_det. `tolerance` is relative to the
  largest number of an array.
  """
  expected, actual = (
    _gradients(name, each, direction, dtype) for each in ("store", memory)
  )
  assert jax.tree.structure(expected) == jax.tree.structure(actual)
  leaves = jax.tree_util.tree_leaves_with_path(expected)
  for (path, a), b in zip(leaves, jax.tree.leaves(actual), strict=True):
    if a.dtype == jax.dtypes.float0:
      continue
    difference, scale = np.abs(a - b).max(), np.abs(a).max()
    assert difference <= tolerance * scale, (
      jax.tree_util.keystr(path),
      difference / scale,
    )


@functools.cache
def _draw(name, dtype):
  """Draws (variables, inputs by direction, cond)."""
  flow, shape, cond_shapes = case(name, "store")
  seed = zlib.crc32(name.encode()) % 10_000
  x = normal(seed, (BATCH, *shape), dtype)
  cond = draw_like(abstract_batch(cond_shapes, BATCH), seed + 1, dtype)
  # A small scale, because rounding errors grow with the inverses' slopes.
  variables = draw_variables(flow, seed + 20, x, cond, scale=0.1)
  z, _ = jax.eval_shape(flow.apply, variables, x, cond)
  values = {"forward": x, "inverse": draw_like(z, seed + 30, dtype)}
  return variables, values, cond


@functools.cache
def _gradients(name, memory, direction, dtype):
  flow = case(name, memory).bijection
  variables, values, cond = _draw(name, dtype)

  @jax.jit
  def run(variables, value, cond):
    method = functools.partial(flow.apply, method=direction)
    out, vjp = jax.vjp(method, variables, value, cond)
    cotangents = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), out)
    return out, vjp(cotangents)

  return jax.device_get(run(variables, values[direction], cond))
