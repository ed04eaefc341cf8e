"""Where `fit` takes its minibatches from: arrays, a simulator, an iterator."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Minibatches(NamedTuple):
  """Minibatches (x, cond) of an epoch, and what is held out.

  Attributes:
    entries: `(rng) -> ` one entry per step, a pytree stacked on a leading axis.
    draw: `(held, entry) -> (x, cond)`, traced into the training loop.
    held: arrays on the device that `draw` reads.
    first: a minibatch (x, cond), to initialise on.
    validation: (x, cond) held out.
    steps: per epoch.
  """

  entries: Callable
  draw: Callable
  held: Any
  first: Any
  validation: Any
  steps: int


def from_arrays(rng, x, cond, *, batch_size, validation_fraction, event_shape):
  """Minibatches of rows in random order, each row once per epoch.

  Rows that do not fill a minibatch wait for the next epoch.

  Raises:
    ValueError: for data that are not finite floats of the event's shape, for
      conditions of another length, and where there are too few rows to hold
      some out.
  """
  data = _checked(x, cond, event_shape)
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

  held = take(data, order[held_out:])
  return Minibatches(
    entries=entries,
    draw=take,
    held=held,
    first=take(held, jnp.arange(batch_size)),
    validation=take(data, order[:held_out]),
    steps=steps,
  )


def from_simulator(
  rng, simulate, *, batch_size, validation_fraction, event_shape, steps
):
  """Fresh minibatches of `simulate(rng, batch_size) -> (x, cond)`.

  As many are held out as the fraction is of an epoch's. The simulator is traced
  into the training loop, so it must be made of JAX functions.
  """

  def draw(_, rng):
    return _pair(simulate(rng, batch_size))

  held_out = _held_out(validation_fraction, steps)
  keys = jax.random.split(rng, held_out)
  drawn = jax.jit(lambda keys: jax.lax.map(lambda k: draw((), k), keys))(keys)
  validation = _as_rows(drawn)
  _checked(*validation, event_shape)
  return Minibatches(
    entries=lambda rng: jax.random.split(rng, steps),
    draw=draw,
    held=(),
    first=take(validation, jnp.arange(batch_size)),
    validation=validation,
    steps=steps,
  )


def from_iterator(
  batches: Iterator, *, validation_fraction, event_shape, steps
):
  """Minibatches that `batches` yields, an epoch of them on the device at once.

  The first ones are held out, as many as the fraction is of an epoch's.
  """

  def stacked(count):
    return jax.tree.map(
      _stacked, *[_pair(_next(batches)) for _ in range(count)]
    )

  drawn = stacked(_held_out(validation_fraction, steps))
  validation = _as_rows(drawn)
  _checked(*validation, event_shape)
  return Minibatches(
    entries=lambda rng: stacked(steps),
    draw=lambda _, batch: batch,
    held=(),
    first=jax.tree.map(lambda leaf: leaf[0], drawn),
    validation=validation,
    steps=steps,
  )


def take(data, index):
  """The rows `index` of every array in a pytree."""
  return jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=0), data)


def _stacked(*leaves):
  """Arrays of one shape as one [batches, ...]."""
  shapes = sorted({np.shape(leaf) for leaf in leaves})
  if len(shapes) > 1:
    raise ValueError(
      "The iterator's minibatches have to be of one size, but it yields"
      f" {list(shapes[0])} and {list(shapes[-1])}: leave the last, smaller one"
      " out."
    )
  return jnp.asarray(np.stack(leaves))


def _as_rows(batches):
  """Arrays [batches, B, ...] to [batches * B, ...]."""
  return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batches)


def _held_out(fraction, steps):
  return max(1, round(fraction * steps))


def _next(batches):
  try:
    return next(batches)
  except StopIteration:
    raise ValueError(
      "The iterator of minibatches ended, but must go on for as long as fit"
      " runs: pass arrays in its place, or let it start over."
    ) from None


def _pair(batch):
  if not isinstance(batch, tuple) or len(batch) != 2:
    raise ValueError(
      "A minibatch is a pair (x, cond), with cond None where there is no"
      f" condition; got {type(batch).__name__}."
    )
  return batch


def _checked(x, cond, event_shape):
  """`(x, cond)` on the device, or a ValueError that says what is wrong."""
  x, cond = jnp.asarray(x), jax.tree.map(jnp.asarray, cond)
  if x.shape[1:] != event_shape:
    wanted = ", ".join(["N", *map(str, event_shape)])
    raise ValueError(
      f"The flow takes x of shape [{wanted}], got {list(x.shape)}."
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(
      f"x is {x.dtype}, but a flow models continuous numbers: convert it to"
      " float32, and add noise where its values are discrete."
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
