"""Examples (x, cond) as users hand them over, checked and in NumPy arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.arguments import is_plain_list
from cinn_jax.bijections.base import Condition
from cinn_jax.training import masks

Minibatch = tuple[Any, Condition]


class Examples(NamedTuple):
  """Examples in NumPy arrays, in the precision in which they were handed over.

  Attributes:
    x: Data [N, *event_shape].
    cond: A pytree of arrays [N, ...], or None.
    rows: Numbers [N] of these rows in what was handed over.
    weights: Weights [N], or None if all are equal.
    num_invalid: Number of rows that were left out.
  """

  x: np.ndarray
  cond: Condition
  rows: np.ndarray
  weights: np.ndarray | None = None
  num_invalid: int = 0

  def take(self, index: np.ndarray) -> "Examples":
    """Returns the rows `index`."""
    return self._replace(
      x=self.x[index],
      cond=jax.tree.map(lambda leaf: leaf[index], self.cond),
      rows=self.rows[index],
      weights=None if self.weights is None else self.weights[index],
    )


class Reader(NamedTuple):
  """Reads examples for one flow.

  Attributes:
    event_shape: Shape of one x.
    low, high: Bounds [C] that the flow's first layer sets to x, or None.
    invalid: "raise" raises ValueError for rows that no flow can learn from,
      "skip" leaves them out.
  """

  event_shape: tuple[int, ...]
  low: np.ndarray | None = None
  high: np.ndarray | None = None
  invalid: str = "raise"

  def read(
    self,
    x: Any,
    cond: Condition,
    weights: Any = None,
    title: str = "",
  ) -> Examples:
    """Returns the examples as NumPy arrays.

    Args:
      x: Anything that NumPy reads as an array [N, *event_shape] of floats.
      cond: A pytree of arrays [N, ...], or of what NumPy reads as such.
      weights: Weights [N] of the rows, or None.
      title: Prefix of the arrays' names in error messages.

    Raises:
      ValueError: naming the array, and the first of its rows that is wrong.
    """
    x = read_array(f"{title}x", x)
    cond = read_condition(f"{title}cond", cond)
    check_shapes(x, cond, self.event_shape, title)
    examples = Examples(x, masks.fill_hidden(cond), np.arange(len(x)))
    if weights is not None:
      examples = examples._replace(weights=read_weights(weights, len(x)))
    return self._only_valid(examples, title)

  def _only_valid(self, examples: Examples, title: str) -> Examples:
    bad = np.zeros(len(examples.x), bool)
    for name, values in _named(examples.x, examples.cond, title):
      if jnp.issubdtype(values.dtype, jnp.floating):
        bad |= self._refuse(f"{name} is not finite", ~_finite_rows(values))
    if self.low is not None and self.high is not None:
      for name, wrong in self._outside(examples.x, f"{title}x"):
        bad |= self._refuse(name, wrong)
    keep = ~bad
    if bad.all():
      raise ValueError(f"None of the {len(bad)} rows of {title}x is valid.")
    if examples.weights is not None:
      keep &= examples.weights > 0
    if keep.all():
      return examples
    kept = examples.take(np.flatnonzero(keep))
    return kept._replace(num_invalid=int(bad.sum()))

  def _refuse(self, problem: str, wrong: np.ndarray) -> np.ndarray:
    if self.invalid == "raise" and wrong.any():
      first = int(np.argmax(wrong))
      raise ValueError(
        f"{problem} in {wrong.sum()} of {len(wrong)} rows, the first at"
        f" {first}: repair or drop them, or pass invalid='skip'."
      )
    return wrong

  def _outside(self, x, name):
    assert self.low is not None and self.high is not None
    with np.errstate(over="ignore"):
      x = x.astype(jax.dtypes.canonicalize_dtype(x.dtype))
    for k, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
      if not (np.isfinite(low) or np.isfinite(high)):
        continue
      values = x[..., k].reshape(len(x), -1)
      wrong = np.any((values <= low) | (values >= high), axis=1)
      column = column_name(name, x.ndim, k)
      yield f"{column} is on or outside Bounded's {low:g} and {high:g}", wrong


def read_array(name: str, value: Any) -> np.ndarray:
  """Returns what NumPy reads as an array of numbers.

  Raises:
    ValueError: naming the argument.
  """
  try:
    if isinstance(value, np.ma.MaskedArray) and value.dtype.kind == "f":
      value = value.filled(np.nan)
    array = np.asarray(value)
  except Exception as error:  # whatever an object's __array__ raises
    raise ValueError(
      f"{name} cannot be read as an array ({error}): pass a NumPy or JAX array."
    ) from None
  is_number = jnp.issubdtype(array.dtype, jnp.number)
  if not is_number and array.dtype != bool:
    kind = array.dtype if array.dtype != object else type(value).__name__
    raise ValueError(
      f"{name} must be an array of numbers, got {kind}: pass a NumPy or JAX"
      " array."
    )
  return array


def read_condition(name: str, cond: Condition) -> Condition:
  """Returns a condition with NumPy arrays as leaves; plain lists are arrays.

  Raises:
    ValueError: naming the leaf.
  """

  def read(path, leaf):
    return read_array(f"{name}{jax.tree_util.keystr(path)}", leaf)

  return jax.tree.map_with_path(read, cond, is_leaf=is_plain_list)


def read_weights(weights: Any, rows: int) -> np.ndarray:
  """Returns weights [N] in float64.

  Raises:
    ValueError: unless they are finite, not negative, and above 0 in two rows.
  """
  weights = read_array("weights", weights)
  if weights.shape != (rows,):
    raise ValueError(
      f"weights must have shape [{rows}], one per row of x, got"
      f" {list(weights.shape)}."
    )
  weights = weights.astype(np.float64)
  wrong = ~(np.isfinite(weights) & (weights >= 0))
  if wrong.any():
    raise ValueError(
      f"weights must be finite and not negative, but {wrong.sum()} of {rows}"
      f" are not, the first at {int(np.argmax(wrong))}."
    )
  if np.sum(weights > 0) < 2:
    raise ValueError("weights must be above 0 in at least two rows.")
  return weights


def check_shapes(
  x: Any,
  cond: Condition,
  event_shape: Sequence[int],
  title: str = "",
  count: int | None = None,
) -> None:
  """Raises ValueError unless x and cond are batches of equal length.

  Args:
    x: An array, or a tracer.
    cond: A pytree of arrays or tracers.
    event_shape: Shape of one x.
    title: Prefix of the arrays' names.
    count: The number of rows that there must be, or None.
  """
  expected = ", ".join(["N", *map(str, event_shape)])
  if x.ndim == 0 or x.shape[1:] != tuple(event_shape):
    raise ValueError(
      f"The flow takes {title}x of shape [{expected}], got {list(x.shape)}."
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(
      f"{title}x is {x.dtype}, but a flow models continuous numbers: convert it"
      " to float32, and add noise if its values are discrete."
    )
  if count is not None and len(x) != count:
    raise ValueError(f"{title}x has {len(x)} rows in place of {count}.")
  if not len(x):
    raise ValueError(f"{title}x has no rows.")
  for path, leaf in jax.tree.leaves_with_path(cond):
    name = f"{title}cond{jax.tree_util.keystr(path)}"
    if leaf.ndim == 0 or len(leaf) != len(x):
      raise ValueError(
        f"{title}x has {len(x)} rows, but {name} has an array of shape"
        f" {list(leaf.shape)}: pass one condition per row."
      )
    if not leaf.size:
      raise ValueError(f"{name} is empty: its shape is {list(leaf.shape)}.")
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
      raise ValueError(f"{name} is {leaf.dtype}: pass real numbers.")


def check_pair(batch: Any, owner: str = "A minibatch") -> Minibatch:
  """Returns (x, cond); raises ValueError unless it was a pair."""
  if not isinstance(batch, tuple | list) or len(batch) != 2:
    kind = type(batch).__name__
    if isinstance(batch, tuple | list):
      kind += f" of {len(batch)}"
    raise ValueError(
      f"{owner} is a pair (x, cond), where cond is None if there is no"
      f" condition; got {kind}."
    )
  return batch[0], batch[1]


def column_name(name: str, ndim: int, column: int) -> str:
  """Returns how NumPy addresses a column: "x[:, 2]".

  >>> column_name("x", 2, 1), column_name("x", 4, 0), column_name("x", 1, 0)
  ('x[:, 1]', 'x[..., 0]', 'x')
  """
  if ndim < 2:
    return name
  return f"{name}[{':, ' if ndim == 2 else '..., '}{column}]"


def _named(x, cond, title):
  yield f"{title}x", x
  for path, leaf in jax.tree.leaves_with_path(cond):
    yield f"{title}cond{jax.tree_util.keystr(path)}", leaf


def _finite_rows(values):
  flat = values.reshape(len(values), -1)
  if flat.dtype.kind != "f":  # bfloat16
    flat = flat.astype(np.float32)
  return np.isfinite(flat).all(axis=1)
