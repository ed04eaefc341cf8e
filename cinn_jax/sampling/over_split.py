"""Samples for every picture of a split, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.runtime import threads
from cinn_jax.sampling.draw import Sampling, make_sampler
from cinn_jax.workdir.trained import Trained

BATCH_SIZE = 16

# The samples uint8 [B, n, S, S, 3] of a batch, and their log_prob [B, n].
Outcome = tuple[np.ndarray, np.ndarray]


def draw_over_split(
  trained: Trained, source: Source, sampling: Sampling
) -> Iterator[tuple[dict[str, Any], np.ndarray, Sequence[Outcome]]]:
  """Yields (batch, given, outcomes) over a split, without padding.

  All are numpy. `batch` holds the records, `given` the conditions as pictures.
  There is one outcome for each temperature, from the same latents, with samples
  in the order in which they were drawn; see `draw.make_sampler`. A batch whose
  pictures are all damaged is left out.
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
    drawn = [
      sampler(trained.variables, rng, batch, jnp.asarray(scale, jnp.float32))
      for scale in sampling.temperatures
    ]
    outcomes = [
      (np.asarray(samples)[mask], np.asarray(log_prob)[mask])
      for _, samples, log_prob in drawn
    ]
    return (
      {name: values[mask] for name, values in batch.items()},
      np.asarray(drawn[0][0])[mask],
      outcomes,
    )

  with tqdm(total=len(source), unit="picture", desc="sampling") as bar:
    for outcome in threads.in_order(draw, enumerate(batches)):
      if len(outcome[1]):
        yield outcome
      bar.update(len(outcome[1]))
