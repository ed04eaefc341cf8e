"""The minibatches of `fit` from an iterator, or a collection of minibatches."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from cinn_jax.bijections.arguments import is_plain_list
from cinn_jax.training import standardization
from cinn_jax.training.examples import Examples, Minibatch, check_pair
from cinn_jax.training.minibatches import (
  Minibatches,
  Settings,
  num_held_out,
  own_validation,
  take,
  to_device,
)


def from_iterator(
  batches: Iterator[Minibatch], settings: Settings, steps: int
) -> Minibatches:
  """Takes minibatches from an iterator, one epoch of them on the device.

  The first ones are held out for validation, and say how to standardize.

  Args:
    batches: Yields (x, cond) without end.
    settings: The choices that all kinds of data share.
    steps: Steps per epoch.

  Raises:
    ValueError: for bad data; if the iterator ends; for minibatches of different
      sizes.
  """
  reader = settings.reader
  numbers = itertools.count()

  def read_next():
    x, cond = check_pair(_next(batches))
    return reader.read(x, cond, title=f"Minibatch {next(numbers)}: ")

  def draw_parts(count):
    parts = [read_next() for _ in range(count)]
    rows = [len(part.x) + part.num_invalid for part in parts]
    if len(set(rows)) > 1:
      shapes = sorted([n, *parts[0].x.shape[1:]] for n in {*rows})
      raise ValueError(
        "The iterator's minibatches must all have the same size, but it yields"
        f" {shapes[0]} and {shapes[-1]}: leave out the last, smaller one."
      )
    # Rows left out are replaced, so that all minibatches keep their size.
    filled = [
      part.take(np.resize(np.arange(len(part.x)), rows[0])) for part in parts
    ]
    return filled, rows[0]

  parts, size = draw_parts(num_held_out(settings, steps))
  held_out = _concatenate(parts)
  constants = settings.measure(held_out)
  missing = settings.parts_for_init(size) - len(parts)
  if missing > 0:
    parts = [*parts, *draw_parts(missing)[0]]
  examples = _concatenate(parts)
  first = take(
    to_device(standardization.apply(constants, examples)),
    settings.rows_for_init(len(examples.x)),
  )

  def entries(rng):
    del rng
    parts, now = draw_parts(steps)
    examples = _concatenate(parts)
    if now != size:
      raise ValueError(
        f"The iterator's minibatches had {size} rows at first, and now {now}."
      )
    data = to_device(standardization.apply(constants, examples))
    return jax.tree.map(
      lambda leaf: leaf.reshape(steps, size, *leaf.shape[1:]), data
    ), examples.num_invalid

  return Minibatches(
    entries=entries,
    draw=lambda _, batch: (*batch, 0),
    pool=(),
    first=first,
    validation=own_validation(
      settings, constants, standardization.apply(constants, held_out)
    ),
    constants=constants,
    steps=steps,
    num_invalid=examples.num_invalid,
  )


def read_all(batches: Any) -> tuple[Any, Any]:
  """Joins a finite collection of minibatches to arrays (x, cond).

  Raises:
    ValueError: for minibatches that do not fit each other.
  """
  parts = [
    tuple(
      jax.tree.map(np.asarray, part, is_leaf=_is_array)
      for part in check_pair(batch)
    )
    for batch in batches
  ]
  if not parts:
    raise ValueError("x has no minibatches.")
  try:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"The minibatches of x do not fit each other: {error}"
    ) from None


def _is_array(node):
  return hasattr(node, "__array__") or is_plain_list(node)


def _concatenate(parts):
  def join(*leaves):
    shapes = sorted({leaf.shape for leaf in leaves})
    if len(shapes) > 1:
      raise ValueError(
        "The iterator's minibatches must all have the same size, but it yields"
        f" {list(shapes[0])} and {list(shapes[-1])}."
      )
    return np.concatenate(leaves)

  structures = {str(jax.tree.structure(part.cond)) for part in parts}
  if len(structures) > 1:
    raise ValueError(
      "The iterator's conditions must all have the same structure, but it"
      f" yields {' and '.join(sorted(structures))}."
    )
  return Examples(
    x=join(*[part.x for part in parts]),
    cond=jax.tree.map(join, *[part.cond for part in parts]),
    rows=np.arange(sum(len(part.x) for part in parts)),
    num_invalid=sum(part.num_invalid for part in parts),
  )


def _next(batches):
  try:
    return next(batches)
  except StopIteration:
    raise ValueError(
      "The iterator of minibatches ended, but it must go on for as long as fit"
      " runs: pass arrays instead, or make it start over."
    ) from None
