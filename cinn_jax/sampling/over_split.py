"""A split and what a trained model draws for it, batch by batch."""

import jax
import numpy as np
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.runtime import threads
from cinn_jax.sampling.draw import make_sampler

_BATCH = 16


def draw_over_split(trained, source, *, num_samples, temperature, seed):
  """Yields (batch, given, samples, log_prob) over a split, padding left out.

  As numpy. `batch` has the records, the others are as of
  `sampling.make_sampler`, in the order that they were drawn.
  """
  sampler = jax.jit(
    make_sampler(trained.flow, trained.task, num_samples=num_samples)
  )
  batches = loader.evaluation_batches(
    source,
    image_size=trained.task.image_size,
    batch_size=min(_BATCH, len(source)),
  )

  def draw(indexed):
    index, batch = indexed
    mask = batch.pop("mask")
    rng = jax.random.fold_in(jax.random.key(seed), index)
    outcome = sampler(trained.variables, rng, batch, temperature)
    return (
      {name: values[mask] for name, values in batch.items()},
      *(np.asarray(values)[mask] for values in outcome),
    )

  with tqdm(total=len(source), unit="picture", desc="sampling") as bar:
    for outcome in threads.in_order(draw, enumerate(batches)):
      yield outcome
      bar.update(len(outcome[-1]))
