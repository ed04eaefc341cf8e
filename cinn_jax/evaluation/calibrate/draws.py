"""Latents, and pools of truth and samples, for the pictures of a split."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from cinn_jax import likelihood
from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.evaluation.calibrate.latents import Latents
from cinn_jax.evaluation.calibrate.pool import Pool
from cinn_jax.flow import Flow
from cinn_jax.images import color
from cinn_jax.images.regions import region_means
from cinn_jax.runtime import threads
from cinn_jax.tasks import Task
from cinn_jax.tasks.colorize import denormalize_ab

# Regions on a side; coarser grids are averages of these.
GRID = 8
_BATCH = 16
# Total number of pixels of the samples that are drawn at once.
_MAX_PIXELS = 2**20


class Subject(NamedTuple):
  """A flow, and the functions that turn its pictures into numbers.

  Attributes:
    flow: The flow.
    variables: Its variables.
    truth: `(rng, batch) -> (x, cond)`, with the noise that the flow describes.
    maps: `(x, cond) -> [B, H, W, C]`: Lab units of a and b, or levels of RGB
      followed by a and b.
    channels: Names of the channels of `maps`, without a and b after RGB.
  """

  flow: Flow
  variables: PyTree
  truth: Callable[[Array, Mapping[str, Array]], tuple[Array, Condition]]
  maps: Callable[[Array, Condition], Array]
  channels: tuple[str, ...]


def make_subject(flow: Flow, variables: PyTree, task: Task) -> Subject:
  """Returns the subject of a task of pictures."""
  # Only the colours of `colorize` have two channels.
  is_ab = task.event_shape[-1] == 2

  def truth(rng, batch):
    x, cond = task.prepare(batch)
    x, noisy = task.add_noise(rng, x, cond)
    if isinstance(cond, Mapping) and "hints" in cond:
      # --mode=sample has no hints unless the user gives some.
      noisy = {**noisy, "hints": cond["hints"]}
    return x, noisy

  def maps(x, cond):
    if is_ab:
      return denormalize_ab(x)
    # Rendered as users see it: the given part is unchanged.
    rgb = task.render(x, cond)
    return jnp.concatenate([255 * rgb, color.srgb_to_lab(rgb)[..., 1:]], -1)

  channels = ("a", "b") if is_ab else ("R", "G", "B")
  return Subject(flow, variables, truth, maps, channels)


def latents_over(
  subject: Subject, batches: Iterator[dict[str, Any]], seed: int
) -> Latents:
  """Returns the latents of all true pictures of batches with masks."""
  look = jax.jit(_look(subject))
  parts = []
  for index, batch in enumerate(batches):
    mask = batch.pop("mask")
    rng = jax.random.fold_in(jax.random.key(seed), index)
    seen, _ = look(subject.variables, rng, batch)
    parts.append(np.asarray(seen["squares"])[mask])
  return Latents(np.concatenate(parts), *_levels(subject, batch))


def pools_over(
  subject: Subject,
  batches: Iterator[dict[str, Any]],
  *,
  num_samples: int,
  temperatures: Sequence[float | Sequence[float]],
  seed: int,
) -> list[Pool]:
  """Draws samples for all true pictures of batches with masks.

  Only the means of 8x8 regions are kept: about 50 KB per picture for two
  channels and 99 samples.

  Returns:
    A pool for each temperature; all share their latents. Samples depend on the
    seed and on how pictures are batched.
  """
  look = jax.jit(_look(subject))
  draw = jax.jit(_draw(subject), static_argnums=4)

  def answer(numbered):
    index, batch = numbered
    mask = batch.pop("mask")
    own = jax.random.fold_in(jax.random.key(seed), index)
    seen, cond = look(subject.variables, jax.random.fold_in(own, 0), batch)
    truth = jax.device_get(seen)
    pixels = math.prod(subject.flow.event_shape[:2]) * len(mask)
    drawn = []
    for temperature in temperatures:
      scale = jnp.asarray(temperature, jnp.float32)
      parts = [
        jax.device_get(
          draw(subject.variables, jax.random.fold_in(own, k), cond, scale, n)
        )
        for k, n in _chunks(num_samples, max(1, _MAX_PIXELS // pixels))
      ]
      means, log_prob = (
        np.concatenate(part, axis=1)[:, :num_samples]
        for part in zip(*parts, strict=True)
      )
      drawn.append(
        (
          np.concatenate([truth["means"][:, None], means], axis=1)[mask],
          np.concatenate([truth["log_prob"][:, None], log_prob], axis=1)[mask],
        )
      )
    return drawn

  pools: list[list[Any]] = [[] for _ in temperatures]
  for drawn in threads.in_order(answer, enumerate(batches)):
    for pool, part in zip(pools, drawn, strict=True):
      pool.append(part)
  return [
    Pool(
      np.concatenate([means for means, _ in pool]),
      np.concatenate([log_prob for _, log_prob in pool]),
      subject.channels,
    )
    for pool in pools
  ]


def true_means(
  subject: Subject, batches: Iterator[dict[str, Any]], seed: int
) -> np.ndarray:
  """Returns the means of the regions of true pictures, [N, 8, 8, C]."""

  @jax.jit
  def look(rng, batch):
    return region_means(subject.maps(*subject.truth(rng, batch)), GRID)

  parts = []
  for index, batch in enumerate(batches):
    mask = batch.pop("mask")
    rng = jax.random.fold_in(jax.random.key(seed), index)
    parts.append(np.asarray(look(rng, batch))[mask])
  return np.concatenate(parts)


def batches_of(
  source: Source, task: Task, num_samples: int, name: str
) -> Iterator[dict[str, Any]]:
  """Yields batches of a split, with a progress bar of this name.

  A batch has as many pictures as can be answered at once with this many samples
  each.
  """
  pixels = num_samples * math.prod(task.event_shape[:2])
  size = max(1, min(_BATCH, len(source), _MAX_PIXELS // pixels))
  with tqdm(total=len(source), unit="picture", desc=name) as bar:
    for batch in loader.evaluation_batches(
      source, image_size=task.image_size, batch_size=size
    ):
      count = int(batch["mask"].sum())
      yield batch
      bar.update(count)


def _look(subject):
  """Returns `(variables, rng, batch) -> (numbers of the truth, cond)`."""

  def look(variables, rng, batch):
    x, cond = subject.truth(rng, batch)
    z, log_det = subject.flow.forward(variables, x, cond)
    squares = [
      jnp.sum(leaf**2, axis=tuple(range(1, leaf.ndim)))
      for leaf in jax.tree.leaves(z)
    ]
    seen = {
      "squares": jnp.stack(squares, axis=-1),
      "log_prob": likelihood.log_prob(z, log_det).total,
      "means": region_means(subject.maps(x, cond), GRID),
    }
    return seen, cond

  return look


def _draw(subject):
  """Returns `(variables, key, cond, temperature, n) -> (means, log_prob)`."""

  def draw(variables, key, cond, temperature, n):
    x, log_prob = subject.flow.sample(variables, key, cond, n, temperature)
    maps = jax.vmap(subject.maps, in_axes=(1, None), out_axes=1)(x, cond)
    return region_means(maps, GRID), log_prob

  return draw


def _chunks(count, most):
  """Returns (number from 1, size) of equal chunks of at most `most`."""
  chunks = -(-count // most)
  return zip(
    range(1, chunks + 1), itertools.repeat(-(-count // chunks)), strict=False
  )


def _levels(subject, batch):
  """Returns the number of latents by level, and the levels' names."""
  abstract = jax.eval_shape(subject.truth, jax.random.key(0), batch)
  shapes = jax.tree.leaves(
    subject.flow.latent_shapes(subject.variables, abstract[1])
  )
  dims = [math.prod(leaf.shape[1:]) for leaf in shapes]
  names = [
    f"level {k}: {'x'.join(map(str, leaf.shape[1:]))}"
    for k, leaf in enumerate(shapes, 1)
  ]
  return np.array(dims), names
