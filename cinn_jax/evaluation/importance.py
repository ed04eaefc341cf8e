"""A tighter bound on bits/dim, by several draws of the noise.

A flow gives densities of pictures with noise, x = (v + u) / scale. Over K draws
of u, with a density q that variational dequantization has on board already,

  ln P(v) >= E ln (1/K) sum_k p(v + u_k) / q(u_k),

which is one draw's bound at K = 1 and never falls with K. (Burda et al. 2016;
for dequantization: Ho et al. 2019, Flow++, equation 13.) It is a bound on the
pictures' probability where the task's noise is uniform over one level; of
Gaussian noise it says how the density averages over it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.data import loader


def bound(trained, source, *, num_draws, batch_size, seed=0):
  """Bits/dim of a split by an importance-weighted bound, in two units.

  Args:
    trained: an `experiment.Trained`.
    source: the split.
    num_draws: K, of the noise of x and the condition.
    batch_size, seed: of the scoring.

  Returns:
    {"draws", "bits_per_dim", "bits_per_dim_of_unscaled_data"}.
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
    "bits_per_dim": bits,
    "bits_per_dim_of_unscaled_data": float(
      likelihood.rescale_bits_per_dim(bits, trained.task.scales)
    ),
  }


def make_bound(flow, task, num_draws, seed):
  """`score(variables, batch, index) -> nats [B]`, jittable.

  The draws depend on the seed, the batch's index and their own number alone;
  they run one after the other, so memory does not grow with them.
  """

  def score(variables, batch, index):
    prepared = task.prepare(batch)
    rng = jax.random.fold_in(jax.random.key(seed), index)

    def draw(k):
      x, cond = task.add_noise(jax.random.fold_in(rng, k), *prepared)
      return flow.log_prob(variables, x, cond).total

    totals = jax.lax.map(draw, jnp.arange(num_draws))
    return jax.nn.logsumexp(totals, axis=0) - math.log(num_draws)

  return score


def in_words(scores, task) -> str:
  """What `bound` returned, or `records` kept of it, as a sentence."""
  return (
    f"Importance-weighted over {scores['draws']} draws of the noise: bits/dim"
    f" {float(scores['bits_per_dim']):.4f};"
    f" {float(scores['bits_per_dim_of_unscaled_data']):.4f} in {task.units}."
  )
