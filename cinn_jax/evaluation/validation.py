"""Scores and sheets of a held-out split, while training and after."""

import contextlib

import jax

from cinn_jax.data import derived, loader
from cinn_jax.evaluation import bits
from cinn_jax.flow import Flow
from cinn_jax.runtime import sharding
from cinn_jax.sampling import draw
from cinn_jax.tasks import Task

SHEET_ROWS, SHEET_SAMPLES = 8, 8


class Validator:
  """A held-out split, in memory order, scored and drawn by compiled functions.

  Args:
    flow, task, source: what is scored, and on which pictures.
    mesh: the devices.
    batch_size: of the scoring; the last batch is padded and masked.
    seed: of the noise, and of the sheets' samples.

  Attributes:
    task: as given.
  """

  def __init__(self, flow: Flow, task: Task, source, mesh, *, batch_size, seed):
    sharding.check_batch_size(batch_size, mesh, "train.batch_size")
    self.task, self._source, self._mesh = task, source, mesh
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

  def score(self, variables, alive=lambda: None, *, interval=False):
    """Bits/dim and its companions over the whole split, see `bits.summarize`.

    `alive` is called before every batch, and may raise.
    """
    batches = loader.evaluation_batches(
      self._source,
      image_size=self.task.image_size,
      batch_size=self._batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    scored = []
    with contextlib.closing(batches):
      for index, batch in enumerate(batches):
        alive()
        on_device = sharding.put_batch(batch, self._mesh)
        scored.append(self._score(variables, on_device, index))
    return bits.summarize(jax.device_get(scored), self.task, interval=interval)

  def sheet(self, variables, note=""):
    """A contact sheet of pictures spread over the split, uint8 [H, W, 3]."""
    spread = derived.Spread(self._source, min(SHEET_ROWS, len(self._source)))
    batch = next(
      loader.evaluation_batches(
        spread, image_size=self.task.image_size, batch_size=len(spread)
      )
    )
    rng = jax.random.key(self._seed)
    del batch["mask"]
    drawn = jax.device_get(self._sample(variables, rng, batch))
    return draw.contact_sheet(self.task, batch["image"], *drawn, note)


def _with_mask(score):
  """`score` of a batch with its "mask", which comes back beside the values."""

  def score_and_mask(variables, batch, index):
    batch = dict(batch)
    mask = batch.pop("mask")
    return score(variables, batch, index), mask

  return score_and_mask
