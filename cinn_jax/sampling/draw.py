"""Samples for a batch of pictures, ranked and on sheets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections import Array, Condition
from cinn_jax.bijections.base import PyTree
from cinn_jax.bijections.shapes import map_shapes
from cinn_jax.flow import Flow
from cinn_jax.images import color, sheets
from cinn_jax.sampling import temperatures
from cinn_jax.tasks import Task


class Sampling(NamedTuple):
  """Settings for drawing samples.

  Attributes:
    num_samples: Samples per condition and temperature.
    temperatures: Scales of the latents; each is one number, or one per level.
    seed: Seed for the latents, which all temperatures share.
  """

  num_samples: int = 8
  temperatures: Sequence[float | Sequence[float]] = (1.0,)
  seed: int = 0


def make_sampler(flow: Flow, task: Task, *, num_samples: int) -> Callable:
  """Builds a jittable function that answers a batch of records.

  Returns:
    `sampler(variables, rng, batch, temperature=1.0) -> (given, samples,
    log_prob)`. `given` is the condition as a picture, uint8 [B, H, W, 3];
    `samples` are uint8 [B, n, S, S, 3], in the order of drawing;
    `log_prob` [B, n] is each sample's conditional log-likelihood in nats. The
    temperature is one number, or one per level of latents.
  """

  def sampler(variables, rng, batch, temperature=1.0):
    _, cond = task.prepare(batch)
    x, log_prob = flow.sample(variables, rng, cond, num_samples, temperature)
    samples = color.to_uint8(render(task, x, cond))
    given = color.to_uint8(task.condition_picture(cond))
    return given, samples, log_prob

  return sampler


def render(task: Task, x: Array, cond: Condition) -> Array:
  """Renders samples x [B, n, ...] as pictures [B, n, S, S, 3] in [0, 1]."""
  return jax.vmap(task.render, in_axes=(1, None), out_axes=1)(x, cond)


def rank(x: Array, log_prob: Array) -> tuple[Array, Array]:
  """Sorts samples [B, n, ...] and log_prob [B, n], most likely first."""
  order = jnp.argsort(-log_prob, axis=1)
  index = order.reshape(order.shape + (1,) * (x.ndim - 2))
  return (
    jnp.take_along_axis(x, index, axis=1),
    jnp.take_along_axis(log_prob, order, axis=1),
  )


def ranked_at(
  temperature: float | Sequence[float], *, has_likelihood: bool = True
) -> str:
  """Returns the caption of a sheet of ranked samples."""
  name = temperatures.name(temperature)
  order = "in order of likelihood" if has_likelihood else "as they were drawn"
  return f"samples {order}, temperature {name}"


def check_temperatures(
  flow: Flow, variables: PyTree, scales: Sequence[float | Sequence[float]]
) -> None:
  """Raises ValueError for temperatures that do not fit the model's latents."""
  by_level = [scale for scale in scales if isinstance(scale, Sequence)]
  if flow.cond_shape is None or list(scales) == [1]:
    return
  if flow.objective is None and not by_level:
    return
  cond = map_shapes(
    lambda shape: jax.ShapeDtypeStruct((1, *shape), jnp.float32),
    flow.cond_shape,
  )
  levels = jax.tree.leaves(flow.latent_shapes(variables, cond))
  if flow.objective is not None and not sum(z.size for z in levels):
    raise ValueError(
      f"{flow.objective.title.capitalize()} has no latents to scale: leave out"
      " --temperature."
    )
  count = len(levels)
  for scale in by_level:
    if len(scale) != count:
      raise ValueError(
        f"--temperature={temperatures.name(scale)} has {len(scale)} numbers,"
        f" but this model has {count} level{'s' * (count > 1)} of latents: pass"
        f" one number{f', or {count}' if count > 1 else ''}."
      )


def contact_sheet(
  task: Task, truth, given, samples, log_prob, note: str = ""
) -> np.ndarray:
  """Draws a sheet with one row per image: given, truth, ranked samples.

  Args:
    task: Names the condition.
    truth: uint8 [B, S, S, 3].
    given: uint8 [B, H, W, 3], the condition as a picture.
    samples: uint8 [B, n, S, S, 3].
    log_prob: [B, n], by which samples are ranked.
    note: Caption of the sheet.
  """
  samples, _ = rank(samples, log_prob)
  rows = [
    [np.asarray(g), np.asarray(t), *np.asarray(s)]
    for t, g, s in zip(truth, given, samples, strict=True)
  ]
  titles = [task.condition_name, "truth"]
  titles += [f"sample {k + 1}" for k in range(samples.shape[1])]
  return sheets.contact_sheet(rows, column_titles=titles, note=note)
