"""Scores and contact sheets of a held-out split, during training and after."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cinn_jax.bijections.base import PyTree
from cinn_jax.data import derived, loader
from cinn_jax.data.base import Source
from cinn_jax.evaluation import bits, comparator_scores
from cinn_jax.flow import Flow
from cinn_jax.runtime import sharding
from cinn_jax.sampling import draw
from cinn_jax.tasks import Task

SHEET_ROWS, SHEET_SAMPLES = 8, 8


class Validator:
  """Scores a held-out split and draws samples for it, by compiled functions.

  Args:
    flow: The flow.
    task: The task of its data.
    source: The held-out split.
    mesh: The devices.
    batch_size: Pictures per batch; the last batch is padded and masked.
    seed: Seed for the noise, and for the sheets' samples.

  Attributes:
    task: The task.
  """

  def __init__(
    self,
    flow: Flow,
    task: Task,
    source: Source,
    mesh: Mesh,
    *,
    batch_size: int,
    seed: int,
  ):
    sharding.check_batch_size(batch_size, mesh, "train.batch_size")
    self.task, self._source, self._mesh = task, source, mesh
    self._is_comparator = flow.objective is not None
    self._batch_size, self._seed = batch_size, seed
    # Replicated, so that every process has the numbers of all examples.
    everywhere = sharding.replicated(mesh)
    self._score = jax.jit(
      _with_mask(bits.make_scorer(flow, task, seed)), out_shardings=everywhere
    )
    self._sample = jax.jit(
      draw.make_sampler(flow, task, num_samples=SHEET_SAMPLES),
      out_shardings=everywhere,
    )

  def score(
    self,
    variables: PyTree,
    alive: Callable[[], None] = lambda: None,
    *,
    interval: bool = False,
  ) -> dict[str, Any]:
    """Returns bits/dim and related numbers of the split.

    Args:
      variables: The flow's variables.
      alive: Function that is called before every batch, and may raise.
      interval: See `bits.summarize`, which describes the result.
    """
    batches = loader.evaluation_batches(
      self._source,
      image_size=self.task.image_size,
      batch_size=self._batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    scores = []
    with contextlib.closing(batches):
      for index, batch in enumerate(batches):
        alive()
        on_device = sharding.put_batch(batch, self._mesh)
        scores.append(self._score(variables, on_device, index))
    values = jax.device_get(scores)
    kind = comparator_scores if self._is_comparator else bits
    return kind.summarize(values, self.task, interval=interval)

  def sheet(self, variables: PyTree, note: str = "") -> np.ndarray:
    """Returns a contact sheet, uint8 [H, W, 3], of pictures and their samples.

    The pictures are spread over the split.
    """
    spread = derived.Spread(self._source, min(SHEET_ROWS, len(self._source)))
    batch = next(
      loader.evaluation_batches(
        spread, image_size=self.task.image_size, batch_size=len(spread)
      )
    )
    rng = jax.random.key(self._seed)
    del batch["mask"]
    outcome = jax.device_get(self._sample(variables, rng, batch))
    return draw.contact_sheet(self.task, batch["image"], *outcome, note)


def _with_mask(score):
  """Returns `score` for a batch with "mask", which it returns as well."""

  def score_and_mask(variables, batch, index):
    batch = dict(batch)
    mask = batch.pop("mask")
    return score(variables, batch, index), mask

  return score_and_mask
