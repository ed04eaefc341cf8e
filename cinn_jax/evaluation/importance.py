"""A tighter bound on bits/dim, from several draws of the noise.

A flow gives densities of pictures with noise, x = (v + u) / scale. For K draws
of u with a density q, which variational dequantization already includes in p,

  ln P(v) >= E ln (1/K) sum_k p(v + u_k) / q(u_k).

This is the bound of a single draw for K = 1, and it never falls with K (Burda
et al. 2016; for dequantization: Ho et al. 2019, Flow++, equation 13). It bounds
the probability of the pictures if the task's noise is uniform over one level.
With Gaussian noise it is the density averaged over the noise.

For a conditional VAE the noise of x is drawn once, as for the bits/dim of a
flow, and the K draws are of the code v: p(x, v) / q(v | x) in place of p / q.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task
from cinn_jax.workdir.trained import Trained


def bound(
  trained: Trained,
  source: Source,
  *,
  num_draws: int,
  batch_size: int,
  seed: int = 0,
) -> dict[str, Any]:
  """Returns bits/dim of a split by an importance-weighted bound.

  Args:
    trained: The trained run.
    source: The split.
    num_draws: K, the number of draws of the noise of x and the condition, or of
      the code of a conditional VAE.
    batch_size: Pictures per batch.
    seed: Seed for the noise.

  Returns:
    {"draws", "of", "bits_per_dim", "bits_per_dim_of_unscaled_data"}; "of" is
    "noise" or "code".
  """
  score = jax.jit(make_bound(trained.flow, trained.task, num_draws, seed))
  nats = []
  for index, batch in enumerate(
    loader.evaluation_batches(
      source, image_size=trained.task.image_size, batch_size=batch_size
    )
  ):
    mask = batch.pop("mask")
    values = score(trained.variables, batch, index)
    nats.append(np.asarray(values, np.float64)[mask])
  dims = math.prod(trained.task.event_shape)
  bits = float(likelihood.bits_per_dim(np.concatenate(nats).mean(), dims))
  return {
    "draws": num_draws,
    "of": "noise" if trained.flow.objective is None else "code",
    "bits_per_dim": bits,
    "bits_per_dim_of_unscaled_data": float(
      likelihood.rescale_bits_per_dim(bits, trained.task.scales)
    ),
  }


def make_bound(flow: Flow, task: Task, num_draws: int, seed: int) -> Callable:
  """Returns `score(variables, batch, index) -> nats [B]`, which is jittable.

  A draw depends only on the seed, the batch's index and its own number. Draws
  run one after the other, so memory does not grow with them.
  """

  def score(variables, batch, index):
    x_and_cond = task.prepare(batch)
    rng = jax.random.fold_in(jax.random.key(seed), index)
    noisy = task.add_noise(jax.random.fold_in(rng, num_draws), *x_and_cond)

    def draw(k):
      if flow.objective is not None:
        key = jax.random.fold_in(rng, k)
        return flow.objective.bound(variables, key, *noisy)
      x, cond = task.add_noise(jax.random.fold_in(rng, k), *x_and_cond)
      if isinstance(cond, Mapping) and "hints" in cond:
        # It is a bound only if all draws are given the same.
        cond = {**cond, "hints": noisy[1]["hints"]}
      return flow.log_prob(variables, x, cond).total

    totals = jax.lax.map(draw, jnp.arange(num_draws))
    return jax.nn.logsumexp(totals, axis=0) - math.log(num_draws)

  return score


def in_words(scores: Mapping[str, Any], task: Task) -> str:
  """Formats the result of `bound`, or its copy in a JSON file, as text."""
  return (
    f"Importance-weighted over {scores['draws']} draws of the"
    f" {scores.get('of', 'noise')}: bits/dim"
    f" {float(scores['bits_per_dim']):.4f};"
    f" {float(scores['bits_per_dim_of_unscaled_data']):.4f} in {task.units}."
  )
