"""Samples for every picture of a split, batch by batch."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.runtime import threads
from cinn_jax.sampling.draw import Sampling, make_sampler
from cinn_jax.workdir.trained import Trained

BATCH_SIZE = 16


def draw_over_split(
  trained: Trained, source: Source, sampling: Sampling
) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]]:
  """Yields (batch, given, samples, log_prob) over a split, without padding.

  All are numpy. `batch` holds the records; the others are what
  `draw.make_sampler` returns, with samples in the order in which they were
  drawn.
  """
  sampler = jax.jit(
    make_sampler(trained.flow, trained.task, num_samples=sampling.num_samples)
  )
  batches = loader.evaluation_batches(
    source,
    image_size=trained.task.image_size,
    batch_size=min(BATCH_SIZE, len(source)),
  )

  def draw(numbered):
    index, batch = numbered
    mask = batch.pop("mask")
    rng = jax.random.fold_in(jax.random.key(sampling.seed), index)
    outcome = sampler(trained.variables, rng, batch, sampling.temperature)
    return (
      {name: values[mask] for name, values in batch.items()},
      *(np.asarray(values)[mask] for values in outcome),
    )

  with tqdm(total=len(source), unit="picture", desc="sampling") as bar:
    for outcome in threads.in_order(draw, enumerate(batches)):
      yield outcome
      bar.update(len(outcome[-1]))
