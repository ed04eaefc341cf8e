"""Scores of a split by models other than flows: errors, perhaps a bound."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.evaluation.metrics import splits
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task


def make_scorer(flow: Flow, task: Task, seed: int) -> Callable:
  """Returns `score(variables, batch, index) -> values`, which is jittable.

  The noise depends on the seed and the batch's index alone. The values are:

  * `error` [B], the root mean squared error of one sample, in units of x;
  * `bound` [B], one draw of the bound of ln p in nats, if there is one.
  """
  assert flow.objective is not None
  bound = flow.objective.bound

  def score(variables, batch, index):
    rng = jax.random.fold_in(jax.random.key(seed), index)
    noise, sample, code = jax.random.split(rng, 3)
    x, cond = task.add_noise(noise, *task.prepare(batch))
    drawn, _ = flow.sample(variables, sample, cond)
    squares = jnp.mean((drawn[:, 0] - x) ** 2, axis=tuple(range(1, x.ndim)))
    values = {"error": jnp.sqrt(squares)}
    if bound is not None:
      values["bound"] = bound(variables, code, x, cond)
    return values

  return score


def summarize(
  scores: Iterable[tuple[Mapping[str, Any], np.ndarray]],
  task: Task,
  *,
  interval: bool = False,
) -> dict[str, Any]:
  """Summarises the scores of a split, as `bits.summarize` does for flows.

  Returns:
    The mean `error` and the number of `examples`. With a bound also
    `bits_per_dim`, an upper bound by one draw of the code, the same in the
    data's own units, and perhaps an interval.

  Raises:
    ValueError: if no example is kept.
  """
  parts: dict[str, list[np.ndarray]] = {}
  for values, mask in scores:
    kept = np.asarray(mask, bool)
    for name, value in values.items():
      parts.setdefault(name, []).append(np.asarray(value, np.float64)[kept])
  joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
  if not joined.get("error", np.zeros(0)).size:
    raise ValueError("There is no example to evaluate: the split is empty.")
  summary: dict[str, Any] = {
    "error": float(joined["error"].mean()),
    "examples": int(joined["error"].size),
  }
  if "bound" in joined:
    dims = math.prod(task.event_shape)
    bits = likelihood.bits_per_dim(joined["bound"], dims)
    summary["bits_per_dim"] = float(bits.mean())
    summary["bits_per_dim_of_unscaled_data"] = float(
      likelihood.rescale_bits_per_dim(summary["bits_per_dim"], task.scales)
    )
    if interval:
      summary["bits_per_dim_interval"] = splits.bootstrap_interval(bits)
  return summary


def in_words(scores: Mapping[str, Any], task: Task) -> str:
  """Formats the result of `summarize`, or its copy in a JSON file, as text."""
  text = (
    f"error of one sample {float(scores['error']):.4f}"
    f" ({scores['examples']:,} pictures)"
  )
  if "bits_per_dim" not in scores:
    return f"{text}; no bits/dim: this model has no likelihood."
  interval = ""
  if scores.get("bits_per_dim_interval"):
    interval = " [{:.4f}, {:.4f}]".format(*scores["bits_per_dim_interval"])
  return (
    f"bits/dim at most {float(scores['bits_per_dim']):.4f}{interval}, by one"
    f" draw of the code; {float(scores['bits_per_dim_of_unscaled_data']):.4f}"
    f" in {task.units}; {text}."
  )
