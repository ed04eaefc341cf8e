"""The subject of latent sheets: a trained flow with conditions and latents."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array, PyTree
from cinn_jax.data import loader
from cinn_jax.data.derived import Spread
from cinn_jax.evaluation.latent import moves
from cinn_jax.experiment.build import open_source
from cinn_jax.flow import Flow, draw_latents
from cinn_jax.tasks import Task
from cinn_jax.workdir.trained import Trained

_IMAGES, _BATCH, _LATENTS, _CHUNK = 8, 64, 2048, 8


class Subject(NamedTuple):
  """A trained flow, K conditions, and the data's examples and latents.

  Attributes:
    flow: The run's flow.
    task: The run's task.
    variables: The run's variables.
    rng: Key for random latents.
    conds: Conditions [K, ...]: all classes of a class-conditional task, or
      those of some pictures.
    x: One example for each condition, [K, ...].
    titles: Titles of the conditions.
    latents: Latents of many pictures of the test split, [N, ...].
    decoder: `moves.decode` for the flow, compiled.
  """

  flow: Flow
  task: Task
  variables: PyTree
  rng: Array
  conds: np.ndarray
  x: np.ndarray
  titles: list[str]
  latents: PyTree
  decoder: Callable

  def draw(self, seed: int, count: int, batch: int = 1) -> PyTree:
    """Draws latents [count, batch, ...]."""
    shapes = jax.tree.map(
      lambda z: jax.ShapeDtypeStruct((batch, *z.shape[1:]), z.dtype),
      self.latents,
    )
    rng = jax.random.fold_in(self.rng, seed)
    return draw_latents(rng, shapes, count, base=self.flow.base)

  def decode(
    self, z: PyTree, index: np.ndarray | slice = slice(None)
  ) -> np.ndarray:
    """Decodes latents under some of the conditions: x [K, V, ...].

    Args:
      z: V variants of latents, [V, 1 or K, ...].
      index: Indices of the K conditions; all by default.
    """
    conds = self.conds[index]
    variants = len(jax.tree.leaves(z)[0])
    # Chunks have one size, so that every sheet uses the same compiled program.
    order = np.resize(np.arange(variants), -(-variants // _CHUNK) * _CHUNK)
    parts = []
    for rows in order.reshape(-1, _CHUNK):
      chunk = jax.tree.map(
        lambda leaf, rows=rows: jnp.broadcast_to(
          leaf[rows], (_CHUNK, len(conds), *leaf.shape[2:])
        ),
        z,
      )
      parts.append(np.asarray(self.decoder(self.variables, chunk, conds)))
    return np.concatenate(parts, axis=1)[:, :variants]


def subject_of(trained: Trained, seed: int) -> Subject:
  """Builds a trained run's `Subject` from its test split.

  Args:
    trained: The run.
    seed: Seed for the noise of the data and for random latents.
  """
  source = open_source(trained.config, trained.task, "test")
  task, flow = trained.task, trained.flow
  batches = loader.evaluation_batches(
    Spread(source, min(_LATENTS, len(source))),
    image_size=task.image_size,
    batch_size=_BATCH,
  )

  @jax.jit
  def encode(variables, rng, batch):
    x, cond = task.prepare(batch)
    noisy, _ = task.add_noise(rng, x, cond)
    return x, cond, flow.forward(variables, noisy, cond)[0]

  rng, examples = jax.random.key(seed), []
  for k, batch in enumerate(batches):
    mask = batch.pop("mask")
    parts = encode(trained.variables, jax.random.fold_in(rng, k), batch)
    parts = jax.tree.map(lambda a, m=mask: np.asarray(a)[m], parts)
    examples.append(parts)
  x, conds, latents = jax.tree.map(lambda *a: np.concatenate(a), *examples)
  index, titles = choose_conditions(conds)
  return Subject(
    flow=flow,
    task=task,
    variables=trained.variables,
    rng=rng,
    conds=conds[index],
    x=x[index],
    titles=titles,
    latents=latents,
    decoder=jax.jit(functools.partial(moves.decode, flow)),
  )


def choose_conditions(conds: np.ndarray) -> tuple[np.ndarray, list[str]]:
  """Chooses one example of each class, or some pictures: (indices, titles).

  Args:
    conds: Conditions of many examples: one-hot classes [N, C], vectors [N, 0]
      if there is no condition, or pictures [N, H, W, C].
  """
  if conds.ndim == 2 and not conds.shape[1]:
    return np.zeros(1, int), ["nothing"]
  if conds.ndim == 2:
    labels, first = np.unique(np.argmax(conds, axis=1), return_index=True)
    return first, [str(label) for label in labels]
  count = min(_IMAGES, len(conds))
  index = np.linspace(0, len(conds) - 1, count).astype(int)
  return index, [str(k + 1) for k in range(count)]
