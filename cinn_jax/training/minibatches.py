"""The minibatches of `fit`: from arrays, a simulator or an iterator."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array, Condition, PyTree

Minibatch = tuple[Any, Condition]


class Minibatches(NamedTuple):
  """The minibatches (x, cond) of each epoch, and the validation data.

  Attributes:
    entries: `(rng) -> entries`, one per step of an epoch: a pytree stacked on a
      leading axis.
    draw: `(pool, entry) -> (x, cond)`, traced into the training loop.
    pool: Arrays on the device from which `draw` takes rows.
    first: A minibatch (x, cond) for the initialisation.
    validation: Held-out data (x, cond).
    steps: Steps per epoch.
  """

  entries: Callable[[Array], PyTree]
  draw: Callable[[PyTree, PyTree], Minibatch]
  pool: PyTree
  first: Minibatch
  validation: Minibatch
  steps: int


def from_arrays(
  rng: Array,
  x: Any,
  cond: Condition,
  *,
  batch_size: int,
  validation_fraction: float,
  event_shape: tuple[int, ...],
) -> Minibatches:
  """Takes minibatches from arrays, in random order, each row once per epoch.

  Rows left over at the end of an epoch do not fill a minibatch and are skipped
  in that epoch.

  Args:
    rng: A JAX random key.
    x: Data [N, *event_shape].
    cond: A pytree of arrays [N, ...], or None.
    batch_size: Rows per minibatch; fewer if there are fewer rows.
    validation_fraction: Fraction of the rows to hold out.
    event_shape: Shape of one example.

  Raises:
    ValueError: for data that are not finite floats of the event's shape, for
      conditions of another length, and for too few rows to hold some out.
  """
  data = _check(x, cond, event_shape)
  rows = len(data[0])
  held_out = max(1, round(validation_fraction * rows))
  if rows - held_out < 1:
    raise ValueError(
      f"x has {rows} rows, of which {held_out} would be held out for"
      " validation: pass more rows or a smaller validation_fraction."
    )
  order = jax.random.permutation(rng, rows)
  training = rows - held_out
  batch_size = min(batch_size, training)
  steps = training // batch_size

  @jax.jit
  def entries(rng):
    shuffled = jax.random.permutation(rng, training)
    return shuffled[: steps * batch_size].reshape(steps, batch_size)

  pool = take(data, order[held_out:])
  return Minibatches(
    entries=entries,
    draw=take,
    pool=pool,
    first=take(pool, jnp.arange(batch_size)),
    validation=take(data, order[:held_out]),
    steps=steps,
  )


def from_simulator(
  rng: Array,
  simulate: Callable[[Array, int], Minibatch],
  *,
  batch_size: int,
  validation_fraction: float,
  event_shape: tuple[int, ...],
  steps: int,
) -> Minibatches:
  """Draws a new minibatch from a simulator in every step.

  The simulator is traced into the training loop, so it must consist of JAX
  operations.

  Args:
    rng: A JAX random key.
    simulate: `(rng, batch_size) -> (x, cond)`.
    batch_size: Rows per minibatch.
    validation_fraction: Size of the validation data, as a fraction of one
      epoch's minibatches.
    event_shape: Shape of one example.
    steps: Steps per epoch.

  Raises:
    ValueError: as `from_arrays`, for the validation data.
  """

  def draw(_, rng):
    return _check_pair(simulate(rng, batch_size))

  keys = jax.random.split(rng, _num_held_out(validation_fraction, steps))
  held_out = jax.jit(lambda keys: jax.lax.map(lambda k: draw((), k), keys))(
    keys
  )
  validation = _as_rows(held_out)
  _check(*validation, event_shape)
  return Minibatches(
    entries=lambda rng: jax.random.split(rng, steps),
    draw=draw,
    pool=(),
    first=take(validation, jnp.arange(batch_size)),
    validation=validation,
    steps=steps,
  )


def from_iterator(
  batches: Iterator[Minibatch],
  *,
  validation_fraction: float,
  event_shape: tuple[int, ...],
  steps: int,
) -> Minibatches:
  """Takes minibatches from an iterator, one epoch of them on the device.

  The first ones are held out for validation.

  Args:
    batches: Yields (x, cond) without end.
    validation_fraction: Size of the validation data, as a fraction of one
      epoch's minibatches.
    event_shape: Shape of one example.
    steps: Steps per epoch.

  Raises:
    ValueError: as `from_arrays`, for the validation data; if the iterator ends;
      for minibatches of different sizes.
  """

  def next_batches(count):
    return jax.tree.map(
      _stack, *[_check_pair(_next(batches)) for _ in range(count)]
    )

  held_out = next_batches(_num_held_out(validation_fraction, steps))
  validation = _as_rows(held_out)
  _check(*validation, event_shape)
  return Minibatches(
    entries=lambda rng: next_batches(steps),
    draw=lambda _, batch: batch,
    pool=(),
    first=jax.tree.map(lambda leaf: leaf[0], held_out),
    validation=validation,
    steps=steps,
  )


def take(data: PyTree, index: Array) -> PyTree:
  """Returns the rows `index` of every array in a pytree."""
  return jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=0), data)


def _stack(*leaves):
  shapes = sorted({np.shape(leaf) for leaf in leaves})
  if len(shapes) > 1:
    raise ValueError(
      "The iterator's minibatches must all have the same size, but it yields"
      f" {list(shapes[0])} and {list(shapes[-1])}: leave out the last, smaller"
      " one."
    )
  return jnp.asarray(np.stack(leaves))


def _as_rows(batches):
  """Reshapes arrays [batches, B, ...] to [batches * B, ...]."""
  return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batches)


def _num_held_out(fraction, steps):
  return max(1, round(fraction * steps))


def _next(batches):
  try:
    return next(batches)
  except StopIteration:
    raise ValueError(
      "The iterator of minibatches ended, but it must go on for as long as fit"
      " runs: pass arrays instead, or make it start over."
    ) from None


def _check_pair(batch):
  if not isinstance(batch, tuple) or len(batch) != 2:
    raise ValueError(
      "A minibatch is a pair (x, cond), where cond is None if there is no"
      f" condition; got {type(batch).__name__}."
    )
  return batch


def _check(x, cond, event_shape):
  """Returns `(x, cond)` on the device; raises ValueError for bad data."""
  x, cond = jnp.asarray(x), jax.tree.map(jnp.asarray, cond)
  if x.shape[1:] != event_shape:
    expected = ", ".join(["N", *map(str, event_shape)])
    raise ValueError(
      f"The flow takes x of shape [{expected}], got {list(x.shape)}."
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(
      f"x is {x.dtype}, but a flow models continuous numbers: convert it to"
      " float32, and add noise if its values are discrete."
    )
  for leaf in jax.tree.leaves(cond):
    if leaf.ndim == 0 or len(leaf) != len(x):
      raise ValueError(
        f"x has {len(x)} rows, but the condition has an array of shape"
        f" {list(leaf.shape)}: pass one condition per row."
      )
  _check_finite("x", x)
  for path, leaf in jax.tree.leaves_with_path(cond):
    _check_finite(f"cond{jax.tree_util.keystr(path)}", leaf)
  return x, cond


def _check_finite(name, values):
  if not jnp.issubdtype(values.dtype, jnp.floating):
    return
  finite = jnp.all(jnp.isfinite(values.reshape(len(values), -1)), axis=1)
  bad = np.flatnonzero(~np.asarray(finite))
  if bad.size:
    raise ValueError(
      f"{name} is not finite in {bad.size} of {len(values)} rows, the first at"
      f" {bad[0]}: drop or repair them."
    )
