"""What latent spaces are looked at through: conditions, pictures, latents."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.data import loader
from cinn_jax.data.derived import Spread
from cinn_jax.evaluation.latent import moves
from cinn_jax.experiment.build import open_source
from cinn_jax.flow import draw_latents

_IMAGES, _BATCH, _ENCODED, _CHUNK = 8, 64, 2048, 8


class Subject(NamedTuple):
  """A trained flow, K conditions, and what the data have there.

  Attributes:
    flow, task, variables: of the run.
    rng: for what is drawn.
    conds: [K, ...]; of a class-conditional task all classes.
    x: [K, ...], one example of each.
    titles: of the conditions.
    latents: of many pictures of the test split, [N, ...].
    decoder: `latent.decode` of the flow, compiled.
  """

  flow: Any
  task: Any
  variables: Any
  rng: jax.Array
  conds: np.ndarray
  x: np.ndarray
  titles: list[str]
  latents: Any
  decoder: Callable

  def draw(self, seed, count, batch=1):
    """Standard normal latents [count, batch, ...]."""
    shapes = jax.tree.map(
      lambda z: jax.ShapeDtypeStruct((batch, *z.shape[1:]), z.dtype),
      self.latents,
    )
    return draw_latents(jax.random.fold_in(self.rng, seed), shapes, count)

  def decode(self, z, chosen=slice(None)):
    """Latents [V, 1 or K, ...] under the chosen conditions: x [K, V, ...]."""
    conds = self.conds[chosen]
    variants = len(jax.tree.leaves(z)[0])
    # Always as many at a time: one compilation serves every sheet.
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


def subject_of(trained, seed: int) -> Subject:
  """A trained experiment's `Subject`, from its test split."""
  source = open_source(trained.config, trained.task, "test")
  task, flow = trained.task, trained.flow
  batches = loader.evaluation_batches(
    Spread(source, min(_ENCODED, len(source))),
    image_size=task.image_size,
    batch_size=_BATCH,
  )

  @jax.jit
  def encode(variables, rng, batch):
    x, cond = task.prepare(batch)
    noisy, _ = task.add_noise(rng, x, cond)
    return x, cond, flow.forward(variables, noisy, cond)[0]

  rng, encoded = jax.random.key(seed), []
  for k, batch in enumerate(batches):
    mask = batch.pop("mask")
    parts = encode(trained.variables, jax.random.fold_in(rng, k), batch)
    encoded.append(jax.tree.map(lambda a, m=mask: np.asarray(a)[m], parts))
  x, conds, latents = jax.tree.map(lambda *a: np.concatenate(a), *encoded)
  chosen, titles = _choose(conds)
  return Subject(
    *(flow, task, trained.variables, rng),
    *(conds[chosen], x[chosen], titles, latents),
    jax.jit(functools.partial(moves.decode, flow)),
  )


def _choose(conds):
  """Indices and titles: one example of each class, or some pictures."""
  if conds.ndim == 2 and not conds.shape[1]:
    return np.zeros(1, int), ["nothing"]
  if conds.ndim == 2:
    labels, first = np.unique(np.argmax(conds, axis=1), return_index=True)
    return first, [str(label) for label in labels]
  count = min(_IMAGES, len(conds))
  chosen = np.linspace(0, len(conds) - 1, count).astype(int)
  return chosen, [str(k + 1) for k in range(count)]
