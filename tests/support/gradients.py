"""Gradients of flows made of stacks, by memory policy."""

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
  "injector",
]


def case(name, memory) -> Case:
  """A registered bijection in a stack; "glow" in one; or "multi_scale"."""
  if name == "multi_scale":
    return CASES[name]._replace(bijection=two_levels(memory))
  like = CASES["coupling_one_sided" if name == "glow" else name]
  block = like.bijection
  if name == "glow":  # With all that mixes channels: integers and matrices.
    learned = (bj.ActNorm(), bj.InvertibleConv1x1(), bj.Householder(2))
    block = bj.Chain((*learned, block, bj.Permutation(), bj.Orthogonal()))
  return like._replace(bijection=bj.Stack(block, DEPTH, memory))


def assert_as_stored(name, memory, direction, dtype, tolerance):
  """Fails unless a policy's values and gradients are those of "store".

  Everything is differentiated: the variables, what goes in and the condition,
  by random cotangents of output and log_det. Differences are relative to the
  largest number of an array.
  """
  wanted, got = (
    _gradients(name, each, direction, dtype) for each in ("store", memory)
  )
  assert jax.tree.structure(wanted) == jax.tree.structure(got)
  leaves = jax.tree_util.tree_leaves_with_path(wanted)
  for (path, a), b in zip(leaves, jax.tree.leaves(got), strict=True):
    if a.dtype == jax.dtypes.float0:
      continue
    difference, scale = np.abs(a - b).max(), np.abs(a).max()
    assert difference <= tolerance * scale, (
      jax.tree_util.keystr(path),
      difference / scale,
    )


@functools.cache
def _drawn(name, dtype):
  """(variables, what goes in by direction, cond), at random."""
  flow, shape, cond_shapes = case(name, "store")
  seed = zlib.crc32(name.encode()) % 10_000
  x = normal(seed, (BATCH, *shape), dtype)
  cond = draw_like(abstract_batch(cond_shapes, BATCH), seed + 1, dtype)
  # Small: rounding grows with the slopes of inverses.
  variables = draw_variables(flow, seed + 20, x, cond, scale=0.1)
  z, _ = jax.eval_shape(flow.apply, variables, x, cond)
  values = {"forward": x, "inverse": draw_like(z, seed + 30, dtype)}
  return variables, values, cond


@functools.cache
def _gradients(name, memory, direction, dtype):
  flow = case(name, memory).bijection
  variables, values, cond = _drawn(name, dtype)

  @jax.jit
  def run(variables, value, cond):
    method = functools.partial(flow.apply, method=direction)
    out, vjp = jax.vjp(method, variables, value, cond)
    cotangents = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), out)
    return out, vjp(cotangents)

  return jax.device_get(run(variables, values[direction], cond))
