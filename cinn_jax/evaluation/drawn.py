"""A split and what a trained model draws for it, batch by batch."""

import jax
import numpy as np
from tqdm import tqdm

from cinn_jax import sampling
from cinn_jax.data import loader

_BATCH = 16


def drawn(trained, source, *, num_samples, temperature, seed):
  """Yields (batch, given, samples) over a split, as numpy, padding left out.

  `batch` has the records, `given` and `samples` are as of
  `sampling.make_sampler`, in the order that they were drawn.
  """
  sampler = jax.jit(
    sampling.make_sampler(
      trained.flow,
      trained.task,
      num_samples=num_samples,
      temperature=temperature,
    )
  )
  batches = loader.evaluation_batches(
    source,
    image_size=trained.task.image_size,
    batch_size=min(_BATCH, len(source)),
  )
  with tqdm(total=len(source), unit="picture", desc="sampling") as bar:
    for index, batch in enumerate(batches):
      mask = batch.pop("mask")
      rng = jax.random.fold_in(jax.random.key(seed), index)
      given, samples, _ = sampler(trained.variables, rng, batch)
      yield (
        {name: values[mask] for name, values in batch.items()},
        np.asarray(given)[mask],
        np.asarray(samples)[mask],
      )
      bar.update(int(np.sum(mask)))
