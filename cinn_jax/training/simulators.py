"""The minibatches of `fit` from a simulator, on the device or on the host."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections import standardization as units
from cinn_jax.bijections.base import Array, Condition
from cinn_jax.training import masks, standardization
from cinn_jax.training.examples import (
  Minibatch,
  Reader,
  check_pair,
  check_shapes,
  read_array,
  read_condition,
)
from cinn_jax.training.iterators import from_iterator
from cinn_jax.training.minibatches import (
  Minibatches,
  Settings,
  num_held_out,
  own_validation,
  take,
  to_device,
)

Simulator = Callable[[Array, int], Minibatch]


def from_simulator(
  rng: Array, simulate: Simulator, settings: Settings, steps: int
) -> Minibatches:
  """Draws a new minibatch from a simulator in every step.

  A simulator of JAX operations is traced into the training loop. Any other one,
  which would give its first minibatch for ever, runs on the host.

  Args:
    rng: A JAX random key.
    simulate: `(rng, batch_size) -> (x, cond)`.
    settings: The choices that all kinds of data share.
    steps: Steps per epoch.

  Raises:
    ValueError: for bad data, or the same minibatch for every key.
  """
  size, reader = settings.batch_size, settings.reader
  _check_arguments(simulate)

  def draw_raw(rng):
    x, cond = check_pair(simulate(rng, size), "What a simulator returns")
    if not hasattr(x, "ndim"):
      x = jnp.asarray(read_array("The simulator's x", x))
    cond = masks.fill_hidden(jax.tree.map(jnp.asarray, cond))
    check_shapes(x, cond, reader.event_shape, "The simulator's ", size)
    return jnp.asarray(x), cond

  reason = _why_on_host(draw_raw, rng)
  if reason:
    warnings.warn(
      f"The simulator runs on the host, since {reason}. One of JAX operations"
      " that draws from its key would run inside of the training loop.",
      RuntimeWarning,
      stacklevel=4,
    )
    return from_iterator(_on_host(simulate, rng, settings), settings, steps)

  count = num_held_out(settings, steps)
  keys = jax.random.split(rng, max(count, settings.parts_for_init(size)))
  drawn = jax.jit(lambda keys: jax.lax.map(draw_raw, keys))(keys)
  x, cond = jax.tree.map(
    lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), drawn
  )
  examples = reader.read(x, cond, title="The simulator's ")
  constants = settings.measure(examples)

  def draw(_, rng):
    x, cond = draw_raw(rng)
    count: Any = 0
    if reader.invalid == "skip":
      x, cond, count = _replace_invalid(reader, x, cond)
    x = units.standardize_x(constants, x)
    return x, units.standardize_cond(constants, cond), count

  examples = standardization.apply(constants, examples)
  held_out = examples.take(np.arange(min(count * size, len(examples.x))))
  return Minibatches(
    entries=lambda rng: (jax.random.split(rng, steps), 0),
    draw=draw,
    pool=(),
    first=take(
      to_device(examples),
      settings.rows_for_init(len(examples.x)),
    ),
    validation=own_validation(settings, constants, held_out),
    constants=constants,
    steps=steps,
    num_invalid=examples.num_invalid,
  )


def _check_arguments(simulate: Simulator) -> None:
  try:
    inspect.signature(simulate).bind(None, 1)
  except TypeError as error:
    raise ValueError(
      "A simulator is called as simulate(rng, batch_size), but this one does"
      f" not take these: {error}."
    ) from None
  except ValueError:  # no signature to look at
    return


def _why_on_host(draw: Callable[[Array], Any], rng: Array) -> str:
  """Returns the reason not to trace a simulator, or "".

  A trace records NumPy's random numbers as constants, so a second trace gives
  others for the same key.
  """
  other = jax.random.fold_in(rng, 1)
  try:
    # Two functions, since JAX traces each one only once.
    first = jax.jit(lambda key: draw(key))
    second = jax.jit(lambda key: draw(key))
    batch, again, others = first(rng), second(rng), first(other)
  except Exception:  # whatever other libraries raise for JAX's tracers
    draw(rng)  # raises again what has another cause
    return "JAX cannot trace it"
  if not _equal(batch, again):
    return "it draws random numbers that are not JAX's"
  if _equal(batch[0], others[0]):
    raise ValueError(
      "The simulator returns the same x for every key: draw its random numbers"
      " from its first argument with jax.random, or pass arrays."
    )
  return ""


def _equal(a: Any, b: Any) -> bool:
  leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
  return len(leaves) == len(others) and all(
    np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
    for one, other in zip(leaves, others, strict=True)
  )


def _on_host(
  simulate: Simulator, rng: Array, settings: Settings
) -> Iterator[Minibatch]:
  """Yields minibatches from calls on the host."""
  size = settings.batch_size
  call, last = 0, None
  while True:
    key = jax.random.fold_in(rng, call)
    batch = check_pair(simulate(key, size), "What a simulator returns")
    x = read_array("The simulator's x", batch[0])
    if last is not None and x.shape == last.shape and np.array_equal(x, last):
      raise ValueError(
        "The simulator returns the same x in every call: let its random numbers"
        " go on, or pass arrays."
      )
    cond = read_condition("The simulator's cond", batch[1])
    check_shapes(x, cond, settings.reader.event_shape, "The simulator's ", size)
    call, last = call + 1, x
    yield x, cond


def _replace_invalid(
  reader: Reader, x: Array, cond: Condition
) -> tuple[Array, Condition, Array]:
  """Writes valid rows over invalid ones; counts the latter."""
  valid = jnp.ones(len(x), bool)
  for leaf in jax.tree.leaves((x, cond)):
    if jnp.issubdtype(leaf.dtype, jnp.floating):
      valid &= jnp.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1)
  if reader.low is not None and reader.high is not None:
    low, high = (
      bound.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
      for bound in (reader.low, reader.high)
    )
    inside = (x > low) & (x < high)
    valid &= inside.reshape(len(x), -1).all(axis=1)
  count = jnp.sum(valid)
  index = jnp.argsort(~valid)[jnp.arange(len(x)) % jnp.maximum(count, 1)]
  return *take((x, cond), index), len(x) - count
