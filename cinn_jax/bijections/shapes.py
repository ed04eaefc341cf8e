"""Shapes of data, conditions and latents: read and checked."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import PyTree

# The shape of one array, without the batch, or a pytree of such shapes.
Shapes = tuple[int, ...] | Mapping[str, "Shapes"] | Sequence["Shapes"]


def map_shapes(function: Callable, shapes: Shapes) -> Any:
  """Applies a function to every shape of a pytree of shapes.

  >>> import math
  >>> map_shapes(math.prod, {"lightness": (8, 8, 1), "hints": (8, 8, 3)})
  {'hints': 192, 'lightness': 64}
  """
  return jax.tree.map(function, shapes, is_leaf=_is_shape)


def read_cond_shape(shapes: Any) -> Shapes:
  """Returns the shapes as tuples; raises ValueError if they are none."""
  leaves = jax.tree.leaves(shapes)
  # NumPy's integers too.
  if not all(isinstance(n, numbers.Integral) and int(n) >= 0 for n in leaves):
    raise ValueError(
      "cond_shape must be the shape of one condition, such as (64, 64, 1), or a"
      f" pytree of shapes, got {shapes!r}."
    )
  shapes = jax.tree.map(int, shapes)
  return map_shapes(
    lambda shape: (shape,) if isinstance(shape, int) else tuple(shape), shapes
  )


def _is_shape(value: Any) -> TypeGuard[tuple[int, ...]]:
  return isinstance(value, tuple | list) and all(
    isinstance(side, int) for side in value
  )


def check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
  """Raises ValueError unless `value` is one array [B, *shape]."""
  got = getattr(value, "shape", None)
  if not got or got[1:] != shape:
    if got is not None:
      got = list(got)
    elif value is not None:
      got = type(value).__name__
    raise ValueError(
      f"This flow takes {name} of shape [B, {', '.join(map(str, shape))}], got"
      f" {got}."
    )


def check_cond_shape(cond: PyTree, shapes: Shapes) -> None:
  """Raises ValueError unless `cond` is a batch of what `shapes` describes."""
  if _is_shape(shapes):
    check_shape("cond", cond, shapes)
    return
  wanted = map_shapes(lambda shape: ["B", *shape], shapes)
  got = jax.tree.map(lambda leaf: ["B", *jnp.shape(leaf)[1:]], cond)
  if wanted != got:
    raise ValueError(
      f"This flow takes cond of shapes {_plainly(wanted)}, got {_plainly(got)}."
    )


def check_latents(z: PyTree, expected: PyTree) -> None:
  """Raises ValueError if z differs from the latents the flow expects."""
  leaves = jax.tree.leaves(z)
  batch = jnp.shape(leaves[0])[:1] if leaves else ()

  def shape_of(leaf):
    shape = jnp.shape(leaf)
    return ["B", *shape[1:]] if shape[:1] == batch else list(shape)

  wanted = jax.tree.map(lambda leaf: ["B", *leaf.shape[1:]], expected)
  got = jax.tree.map(shape_of, z)
  if wanted != got:
    raise ValueError(
      f"This flow takes latents of shape {_plainly(wanted)}, got"
      f" {_plainly(got)}."
    )


def _plainly(shapes):
  return str(shapes).replace("'", "")
