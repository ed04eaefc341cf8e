"""Bits/dim of a whole split, with indicators of numerical trouble."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.bijections import REPORTS, max_log_scale
from cinn_jax.evaluation import comparator_scores
from cinn_jax.evaluation.metrics import splits
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task

_INTERVAL = "bits_per_dim_interval"
_RECONSTRUCTION = "reconstruction_error_"
_LEVEL = "bits_per_dim_of_level_"


def make_scorer(flow: Flow, task: Task, seed: int) -> Callable:
  """Returns `score(variables, batch, index) -> values`, which is jittable.

  The noise depends on the seed and the batch's index alone. The values are:

  * `prior` and `log_det` [B], in nats per example;
  * `round_trip` [B], the largest |inverse(forward(x)) - x| of an example;
  * `max_log_scale`, the largest of any coupling;
  * `auxiliary_loss` [B], as training adds it, if the model has one;
  * `reconstruction_error`, a dict of [B] by part of the model, in the data's
    own units, if the model has `reconstruction_errors`;
  * `level`, a dict of [B] by level of a pyramid, in nats, if the model has
    `log_prob_by_level`.

  Models other than flows have those of `comparator_scores.make_scorer`.
  """
  if flow.objective is not None:
    return comparator_scores.make_scorer(flow, task, seed)
  by_part = hasattr(flow.module, "reconstruction_errors")
  by_level = hasattr(flow.module, "log_prob_by_level")

  def score(variables, batch, index):
    rng = jax.random.fold_in(jax.random.key(seed), index)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    (z, log_det), reports = flow.module.apply(
      variables, x, cond, method="forward", mutable=list(REPORTS)
    )
    parts = likelihood.log_prob(z, log_det, flow.base)
    values = {
      "prior": parts.prior,
      "log_det": parts.log_det,
      "max_log_scale": max_log_scale(reports.get("diagnostics", {})),
    }
    if losses := jax.tree.leaves(reports.get("auxiliary_losses", {})):
      values["auxiliary_loss"] = sum(losses)
    if by_level:
      values["level"] = flow.module.apply(
        variables, x, cond, method="log_prob_by_level"
      )
    if not by_part:
      back, _ = flow.inverse(variables, z, cond)
      return {
        **values,
        "round_trip": jnp.max(jnp.abs(back - x), axis=(1, 2, 3)),
      }
    errors = flow.module.apply(
      variables, x, cond, method="reconstruction_errors"
    )
    return {
      **values,
      "round_trip": errors.pop("round_trip"),
      "reconstruction_error": {
        part: max(task.scales) * error for part, error in errors.items()
      },
    }

  return score


def summarize(
  scores: Iterable[tuple[Mapping[str, Any], np.ndarray]],
  task: Task,
  *,
  interval: bool = False,
) -> dict[str, Any]:
  """Summarises the scores of a split.

  Means are exact over the examples that the masks keep; sums are float64.

  Args:
    scores: The values of `make_scorer` and a mask [B] for each batch, as numpy.
    task: The task of the data.
    interval: Whether to add `bits_per_dim_interval`: (low, high), 95 %, by
      resampling the examples; None for a single one.

  Returns:
    Bits/dim of x and its parts, bits/dim of the data in their own units, nats
    as the authors' code prints them, the largest round-trip error and
    log-scale, and the number of examples. Models that have them add the mean
    `auxiliary_loss`, the largest `reconstruction_error` of each part, and
    `bits_per_dim_of_level_` of each, the shares of bits/dim, which add up to
    it.

  Raises:
    ValueError: if no example is kept.
  """
  batches, largest = [], 0.0
  for values, mask in scores:
    values, mask = dict(values), np.asarray(mask, bool)
    # np.maximum propagates NaN; max may not.
    largest = np.maximum(largest, values.pop("max_log_scale"))
    batches.append(
      jax.tree.map(lambda v, m=mask: np.asarray(v, np.float64)[m], values)
    )
  if not sum(values["prior"].size for values in batches):
    raise ValueError("There is no example to evaluate: the split is empty.")
  values = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
  prior, log_det = values["prior"], values["log_det"]
  dims = math.prod(task.event_shape)
  parts = likelihood.bits_by_part(prior.mean(), log_det.mean(), dims)
  bits = parts["bits_per_dim"]
  summary: dict[str, Any] = {
    **{name: float(value) for name, value in parts.items()},
    "bits_per_dim_of_unscaled_data": float(
      likelihood.rescale_bits_per_dim(bits, task.scales)
    ),
    "nats_without_constant": float(likelihood.nats_without_constant(bits)),
    "round_trip_error": float(values["round_trip"].max()),
    "max_log_scale": float(largest),
    "examples": int(prior.size),
  }
  if "auxiliary_loss" in values:
    summary["auxiliary_loss"] = float(values["auxiliary_loss"].mean())
  levels = values.get("level", {})
  # JAX sorts names as text, 16 before 8.
  for level in sorted(levels, key=lambda name: (len(name), name)):
    share = likelihood.bits_per_dim(levels[level].mean(), dims)
    summary[f"{_LEVEL}{level}"] = float(share)
  for part, errors in values.get("reconstruction_error", {}).items():
    summary[f"{_RECONSTRUCTION}{part}"] = float(errors.max())
  if interval:
    summary[_INTERVAL] = splits.bootstrap_interval(
      likelihood.bits_per_dim(prior + log_det, dims)
    )
  return summary


def in_words(scores: Mapping[str, Any], task: Task) -> str:
  """Formats the result of `summarize`, or its copy in a JSON file, as text."""
  if "error" in scores:
    return comparator_scores.in_words(scores, task)
  if interval := scores.get(_INTERVAL):
    interval = " [{:.4f}, {:.4f}]".format(*interval)
  text = (
    f"bits/dim {scores['bits_per_dim']:.4f}{interval or ''} = prior"
    f" {scores['bits_prior']:.4f} + log-det {scores['bits_log_det']:.4f}"
    f" ({scores['examples']:,} pictures);"
    f" {scores['bits_per_dim_of_unscaled_data']:.4f} in {task.units};"
    f" {scores['nats_without_constant']:.4f} nats/dim without the constant."
    f" Largest round-trip error {float(scores['round_trip_error']):.1e},"
    f" log-scale {float(scores['max_log_scale']):.2f}."
  )
  by_level = [
    f"{name.removeprefix(_LEVEL)} {float(value):.4f}"
    for name, value in scores.items()
    if name.startswith(_LEVEL)
  ]
  if by_level:
    text += f" Shares of bits/dim by level: {', '.join(by_level)}."
  by_part = [
    f"{name.removeprefix(_RECONSTRUCTION)} {float(value):.1e}"
    for name, value in scores.items()
    if name.startswith(_RECONSTRUCTION)
  ]
  if by_part:
    text += f" Reconstruction errors in {task.units}: {', '.join(by_part)}."
  return text
