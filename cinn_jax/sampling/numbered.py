"""Samples by number: sample k depends only on the seed and on k.

A photograph therefore gets the same samples alone and in an album, in any
order, and in a batch that was interrupted. All pictures of an album, and all
frames of a video, share their latents.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import likelihood
from cinn_jax.bijections import Array, Condition, PyTree
from cinn_jax.flow import Flow, draw_latents

# Number of samples that are drawn, rendered and written at a time.
CHUNK = 8
# Samples that need more bytes than this are kept on disk until they are ranked.
_IN_MEMORY = 2**28

# `(key, numbers [n], temperature) -> (x [n, ...], log_prob [n])`.
Draw = Callable[[Array, Array, Any], tuple[Array, Array]]


def make_draw(flow: Flow) -> Callable:
  """Returns `draw(variables, cond, key, numbers, temperature)`, jitted.

  `cond` is a batch of one condition. It is encoded once for all numbers.

  Returns:
    `(x [n, ...], log_prob [n])`, in nats: sample `numbers[i]` of the key.
  """

  @jax.jit
  def draw(
    variables: PyTree,
    cond: Condition,
    key: Array,
    numbers: Array,
    temperature: Any,
  ):
    z = draw_numbered(
      flow,
      flow.latent_shapes(variables, cond),
      key=key,
      numbers=numbers,
      temperature=temperature,
    )
    return invert(flow, variables, cond, z)

  return draw


def draw_numbered(
  flow: Flow, shapes: PyTree, *, key: Array, numbers: Array, temperature: Any
) -> PyTree:
  """Draws the latents [n, 1, ...] of samples `numbers` of a key.

  Args:
    flow: The flow, which has the distribution of the latents.
    shapes: Shapes of one latent, from `flow.latent_shapes`.
    key, numbers, temperature: As for `make_draw`.
  """

  def latents(number):
    rng = jax.random.fold_in(key, number)
    drawn = draw_latents(rng, shapes, 1, temperature, flow.base)
    return jax.tree.map(lambda leaf: leaf[0], drawn)

  return jax.vmap(latents)(numbers)


def invert(
  flow: Flow, variables: PyTree, cond: Condition, z: PyTree
) -> tuple[Array, Array]:
  """Returns (x [n, ...], log_prob [n] in nats) for latents z [n, 1, ...]."""
  inverse = jax.vmap(lambda one: flow.inverse(variables, one, cond))
  x, log_det = inverse(z)
  prior = jax.vmap(lambda one: likelihood.base_log_prob(one, flow.base))(z)
  return x[:, 0], (prior - log_det)[:, 0]


class Ranked(NamedTuple):
  """Samples of one condition, most likely first.

  Attributes:
    x: `[n, ...]`, in the order of drawing.
    order: int [k], indices into `x`; k is n, or less after `take`.
    log_prob: float [k], in nats, by rank.
    first: Number of the first sample in `x`.
    ranks: Number of each sample among the results, from 1; None for 1 to k.
    shares: Share of all samples that each one represents, or None.
  """

  x: np.ndarray
  order: np.ndarray
  log_prob: np.ndarray
  first: int = 0
  ranks: Sequence[int] | None = None
  shares: Sequence[float] | None = None

  def take(self, places: Sequence[int], *, renumber: bool = False) -> "Ranked":
    """Returns the samples at these places of the order.

    Args:
      places: The places, from 0.
      renumber: Numbers them from 1; otherwise they keep the numbers that they
        have among all samples.
    """
    index = np.asarray(places, int)
    return self._replace(
      order=self.order[index],
      log_prob=self.log_prob[index],
      ranks=None if renumber else [int(k) + 1 for k in index],
      shares=self.shares and [self.shares[k] for k in index],
    )

  @property
  def numbers(self) -> list[int]:
    """The numbers of the samples among the draws of the seed, by rank."""
    return [self.first + int(k) for k in self.order]

  def chunks(self, size: int):
    """Yields (ranks, x [c, ...]) for `size` samples at a time."""
    ranks = self.ranks or range(1, len(self.order) + 1)
    for first in range(0, len(self.order), size):
      part = slice(first, first + size)
      yield ranks[part], np.asarray(self.x[self.order[part]])


def draw_ranked(
  draw: Draw,
  seed: int,
  num_samples: int,
  temperature: float | list[float] = 1.0,
  *,
  first: int = 0,
  chunk: int = CHUNK,
) -> Ranked:
  """Draws samples number `first` to `first + num_samples - 1`, a few at a time.

  Memory is bounded for any `num_samples`.
  """
  key = jax.random.key(seed)
  scale = jnp.asarray(temperature, jnp.float32)
  chunk = min(chunk, num_samples)
  x: np.ndarray | None = None
  log_prob = np.empty(num_samples)
  for start in range(0, num_samples, chunk):
    # The last chunk is as large as the others, so that all use one program.
    numbers = first + start + jnp.arange(chunk, dtype=jnp.uint32)
    some, nats = (np.asarray(a) for a in draw(key, numbers, scale))
    if x is None:
      x = _room((num_samples, *some.shape[1:]), some.dtype)
    count = min(chunk, num_samples - start)
    x[start : start + count] = some[:count]
    log_prob[start : start + count] = nats[:count]
  assert x is not None
  order = np.argsort(-log_prob, kind="stable")
  return Ranked(x, order, log_prob[order], first)


def _room(shape, dtype):
  if math.prod(shape) * dtype.itemsize <= _IN_MEMORY:
    return np.empty(shape, dtype)
  # The file is deleted when the array is.
  return np.memmap(tempfile.TemporaryFile(), dtype, shape=shape)
