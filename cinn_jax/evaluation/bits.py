"""Bits/dim of a whole split, with what tells of numerical trouble."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task


def make_scorer(flow: Flow, task: Task, seed: int):
  """`score(variables, batch, index) -> values`, jittable.

  Values: nats per example `prior` and `log_det` [B]; `round_trip` [B], the
  largest |inverse(forward(x)) - x| of an example; `max_log_scale`, of any
  coupling. The noise depends on the seed and the batch's index alone.
  """

  def score(variables, batch, index):
    rng = jax.random.fold_in(jax.random.key(seed), index)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    (z, log_det), updated = flow.module.apply(
      variables, x, cond, method="forward", mutable=["diagnostics"]
    )
    back, _ = flow.inverse(variables, z, cond)
    parts = likelihood.log_prob(z, log_det)
    return {
      "prior": parts.prior,
      "log_det": parts.log_det,
      "round_trip": jnp.max(jnp.abs(back - x), axis=(1, 2, 3)),
      "max_log_scale": max_log_scale(updated.get("diagnostics", {})),
    }

  return score


def max_log_scale(diagnostics):
  """The largest absolute log-scale that any coupling reported; 0 of none."""
  largest = [jnp.max(leaf) for leaf in jax.tree.leaves(diagnostics)]
  return jnp.max(jnp.stack([jnp.zeros(()), *largest]))


def summarize(scored, task: Task) -> dict[str, float]:
  """The split's metrics from (values, mask [B]) per batch, as numpy.

  Exact over the examples that the masks keep; sums in float64. Beside bits/dim
  of x and its parts stand bits/dim of the data in their own units, and what the
  authors' code prints.

  Raises:
    ValueError: where no example is kept.
  """
  kept = {name: [] for name in ("prior", "log_det", "round_trip")}
  largest = 0.0
  for values, mask in scored:
    mask = np.asarray(mask, bool)
    for name, parts in kept.items():
      parts.append(np.asarray(values[name], np.float64)[mask])
    largest = max(largest, float(values["max_log_scale"]))
  prior, log_det, round_trip = (np.concatenate(v) for v in kept.values())
  if not prior.size:
    raise ValueError("There is no example to evaluate: the split is empty.")
  dims = math.prod(task.event_shape)
  parts = likelihood.bits_by_part(prior.mean(), log_det.mean(), dims)
  bits = parts["bits_per_dim"]
  return {
    **{name: float(value) for name, value in parts.items()},
    "bits_per_dim_of_unscaled_data": float(
      likelihood.rescale_bits_per_dim(bits, task.scales)
    ),
    "nats_without_constant": float(likelihood.nats_without_constant(bits)),
    "round_trip_error": float(round_trip.max()),
    "max_log_scale": largest,
    "examples": int(prior.size),
  }


def in_words(scores, task: Task) -> str:
  """What `summarize` returned, as a sentence."""
  return (
    f"bits/dim {scores['bits_per_dim']:.4f} = prior"
    f" {scores['bits_prior']:.4f} + log-det {scores['bits_log_det']:.4f}"
    f" ({scores['examples']:,} pictures);"
    f" {scores['bits_per_dim_of_unscaled_data']:.4f} in {task.units};"
    f" {scores['nats_without_constant']:.4f} nats/dim without the constant."
    f" Largest round-trip error {scores['round_trip_error']:.1e}, log-scale"
    f" {scores['max_log_scale']:.2f}."
  )
