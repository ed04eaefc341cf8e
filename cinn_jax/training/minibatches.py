"""The minibatches of `fit`, and those from arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array, PyTree
from cinn_jax.training import standardization
from cinn_jax.training.decay import default_decay
from cinn_jax.training.examples import Examples, Minibatch, Reader

# Rows that initialise a flow by default: few pictures, since layers keep their
# maps, but many vectors, from which regressions start.
_FEW_ROWS, _MOST_VECTORS = 256, 10_000


class Settings(NamedTuple):
  """The choices that all kinds of data share.

  Attributes:
    module: The flow's module.
    reader: Reads and checks examples.
    batch_size: Rows per minibatch.
    init_batch_size: Rows from which the flow is initialised; None for the
      default.
    validation_fraction: Fraction of the rows, or of one epoch's minibatches, to
      hold out; None for the default.
    constants: The standardization; None measures one, {} does not standardize.
    validation: Examples to validate on in place of held-out ones, or None.
  """

  module: Any
  reader: Reader
  batch_size: int
  init_batch_size: int | None
  validation_fraction: float | None = None
  constants: dict[str, Any] | None = None
  validation: Examples | None = None

  def parts_for_init(self, size: int) -> int:
    """Returns the number of minibatches of `size` rows to initialise from."""
    return -(-(self.init_batch_size or _FEW_ROWS) // size)

  def rows_for_init(self, rows: int) -> Array:
    """Returns the numbers of the rows that initialise the flow, of `rows`."""
    size = self.init_batch_size
    if size is None:
      is_vector = len(self.reader.event_shape) < 2
      size = _MOST_VECTORS if is_vector else _FEW_ROWS
    return jnp.arange(min(size, rows))

  def measure(self, examples: Examples) -> dict[str, Any]:
    """Returns the standardization for data such as these examples.

    Raises:
      ValueError: if the validation data have another condition.
    """
    if self.validation is not None:
      _check_alike(examples.cond, self.validation.cond)
    if self.constants is not None:
      return self.constants
    return standardization.measure(examples, self.module)


class Minibatches(NamedTuple):
  """The minibatches (x, cond) of each epoch, and the validation data.

  All are in the flow's units.

  Attributes:
    entries: `(rng) -> (entries, num_invalid)`: one entry per step of an epoch,
      a pytree stacked on a leading axis, and the number of rows left out.
    draw: `(pool, entry) -> (x, cond, num_invalid)`, traced into the training
      loop.
    pool: Arrays on the device from which `draw` takes rows.
    first: Rows (x, cond) for the initialisation.
    validation: Held-out examples.
    constants: The standardization, as `bijections.standardization` has it.
    steps: Steps per epoch.
    num_invalid: Number of rows that were left out so far.
    rows: Numbers of the rows in `pool`, or None if they have no place.
    weight_decay: The default decay, for data that are seen again and again.
  """

  entries: Callable[[Array], tuple[PyTree, int]]
  draw: Callable[[PyTree, PyTree], tuple[Any, PyTree, Any]]
  pool: PyTree
  first: Minibatch
  validation: Examples
  constants: dict[str, Any]
  steps: int
  num_invalid: int
  rows: np.ndarray | None = None
  weight_decay: float = 0.0


def from_arrays(
  rng: Array, examples: Examples, settings: Settings
) -> Minibatches:
  """Takes minibatches from arrays, in random order, each row once per epoch.

  Rows left over at the end of an epoch do not fill a minibatch and are skipped
  in that epoch. Weighted rows are drawn as often as their weights say.

  Raises:
    ValueError: for too few rows to hold some out, and for constant columns.
  """
  rows = len(examples.x)
  held_out = 0
  if settings.validation is None:
    held_out = _num_rows_held_out(settings.validation_fraction, rows)
  constants = settings.measure(examples)
  data = standardization.apply(constants, examples)
  order = np.asarray(jax.random.permutation(rng, rows))
  if settings.validation is None:
    validation = data.take(order[:held_out])
    training = data.take(order[held_out:])
  else:
    validation = standardization.apply(constants, settings.validation)
    training = data.take(order)
  x = training.x
  count = len(x)
  batch_size = min(settings.batch_size, count)
  steps = count // batch_size
  pool = to_device(training)

  @jax.jit
  def shuffle(rng):
    shuffled = jax.random.permutation(rng, count)
    return shuffled[: steps * batch_size].reshape(steps, batch_size)

  first = settings.rows_for_init(count)
  if training.weights is not None:
    first = _by_weight(rng, training.weights)[first]

  def entries(rng):
    order = shuffle(rng)
    if training.weights is not None:
      order = _by_weight(rng, training.weights)[order]
    return order, 0

  return Minibatches(
    entries=entries,
    draw=lambda pool, index: (*take(pool, index), 0),
    pool=pool,
    first=take(pool, first),
    validation=validation,
    constants=constants,
    steps=steps,
    num_invalid=examples.num_invalid,
    rows=training.rows,
    weight_decay=default_decay(count, x.shape[1] if x.ndim == 2 else 1),
  )


def _check_alike(cond, other):
  """Raises ValueError unless two conditions differ only in their rows."""

  def describe(tree):
    return jax.tree.map(
      lambda leaf: f"[{leaf.ndim}D, {leaf.shape[1:][-1:]}]", tree
    )

  if describe(cond) != describe(other):
    shapes = [jax.tree.map(lambda leaf: leaf.shape, c) for c in (cond, other)]
    raise ValueError(
      f"validation's cond has shape {shapes[1]}, but cond has {shapes[0]}."
    )


def _num_rows_held_out(fraction, rows):
  if fraction is None:
    # With a handful of rows, early stopping would follow chance.
    held_out = max(round(0.1 * rows), min(100, rows // 3))
  else:
    held_out = max(1, round(fraction * rows))
  held_out = max(1, held_out)
  if rows - held_out < 1:
    raise ValueError(
      f"x has {rows} rows, of which {held_out} would be held out for"
      " validation: pass more rows or a smaller validation_fraction."
    )
  return held_out


def _by_weight(rng, weights):
  """Returns [N] rows, each as often as its share of the weights, rounded."""
  random = np.random.default_rng(np.asarray(jax.random.key_data(rng)))
  edges = np.cumsum(weights / weights.sum())
  places = (np.arange(len(weights)) + random.uniform()) / len(weights)
  rows = np.searchsorted(edges, places, side="right")
  return jnp.asarray(random.permutation(np.minimum(rows, len(weights) - 1)))


def own_validation(
  settings: Settings, constants: dict[str, Any], held_out: Examples
) -> Examples:
  """Returns the user's validation data in the flow's units, or `held_out`."""
  if settings.validation is None:
    return held_out
  return standardization.apply(constants, settings.validation)


def num_held_out(settings: Settings, steps: int) -> int:
  """Returns the number of minibatches to hold out of one epoch's."""
  fraction = settings.validation_fraction
  return max(1, round((0.1 if fraction is None else fraction) * steps))


def take(data: PyTree, index: Array) -> PyTree:
  """Returns the rows `index` of every array in a pytree."""
  return jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=0), data)


def to_device(examples: Examples) -> Minibatch:
  """Returns (x, cond) as JAX arrays."""
  return jnp.asarray(examples.x), jax.tree.map(jnp.asarray, examples.cond)
