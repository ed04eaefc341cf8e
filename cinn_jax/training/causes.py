"""The cause of a log-probability that is not finite, in a sentence."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import PyTree
from cinn_jax.flow import Flow
from cinn_jax.training.minibatches import Minibatches, to_device

_CHUNK = 1024
_ADVICE = "lower the learning rate, since x and cond are finite."


class Trouble(NamedTuple):
  """An epoch that went wrong.

  Attributes:
    flow: The flow.
    data: Its minibatches.
    entry: The entry of the first step that is not finite, or None if only the
      validation is not.
    variables: The variables before that, which are finite.
  """

  flow: Flow
  data: Minibatches
  entry: PyTree
  variables: PyTree


def find_cause(trouble: Trouble) -> str:
  """Returns what is wrong and what to do."""
  batch = None
  if trouble.entry is not None:
    data = trouble.data
    batch = jax.jit(data.draw)(data.pool, trouble.entry)[:2]
    for path, leaf in jax.tree.leaves_with_path(
      {"x": batch[0], "cond": batch[1]}
    ):
      wrong = _not_finite(leaf)
      if wrong.any():
        name = path[0].key + jax.tree_util.keystr(path[1:])
        return (
          f"{name} is not finite in {wrong.sum()} of {len(wrong)} rows of this"
          f" minibatch, the first at {np.argmax(wrong)}. Repair the simulator,"
          " or pass invalid='skip'."
        )
  if not _finite(trouble.variables):
    return _ADVICE
  if trouble.data.rows is not None:
    batch = trouble.data.pool if trouble.entry is not None else None
  elif trouble.entry is None:
    batch = None
  return _bad_rows(trouble, batch) or _ADVICE


def _bad_rows(trouble, batch):
  """Describes the rows to which finite variables give no finite density."""
  if batch is None:
    title = "of the validation data"
    batch, rows = (
      to_device(trouble.data.validation),
      trouble.data.validation.rows,
    )
  elif trouble.data.rows is not None:
    title, rows = "of x", trouble.data.rows
  else:
    title, rows = "of the minibatch", np.arange(len(batch[0]))
  log_prob = jax.jit(trouble.flow.log_prob)
  bad, largest = [], 0.0
  for k in range(0, len(rows), _CHUNK):
    x, cond = jax.tree.map(lambda leaf, k=k: leaf[k : k + _CHUNK], batch)
    total = np.asarray(log_prob(trouble.variables, x, cond).total)
    bad.extend(rows[k : k + _CHUNK][~np.isfinite(total)])
    wrong = np.asarray(x)[~np.isfinite(total)]
    largest = max([largest, *np.abs(wrong).ravel().tolist()])
  if not bad:
    return ""
  text = (
    f"the flow gives no finite density to {len(bad)} of {len(rows)} rows"
    f" {title}, the first at {min(bad)}."
  )
  if "x" in trouble.data.constants and largest > 10:
    text += (
      f" They are up to {largest:.3g} standard deviations from the mean: drop"
      " such outliers, or transform x."
    )
  elif not trouble.data.constants:
    text += " Leave standardize=True, or drop them."
  else:
    text += " Drop them, or lower the learning rate."
  return text


def _not_finite(leaf: Any) -> np.ndarray:
  if not jnp.issubdtype(leaf.dtype, jnp.floating):
    return np.zeros(len(leaf), bool)
  return np.asarray(~jnp.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1))


def _finite(tree: PyTree) -> bool:
  return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))
