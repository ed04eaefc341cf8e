"""Several answers for each picture, and the sheets that show them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.flow import Flow
from cinn_jax.images import color, sheets
from cinn_jax.sampling import temperatures
from cinn_jax.tasks import Task


class Sampling(NamedTuple):
  """How samples are drawn.

  Attributes:
    num_samples: per condition.
    temperature: scale of the latents: one number, or one per level of latents.
    seed: of the latents.
  """

  num_samples: int = 8
  temperature: float | Sequence[float] = 1.0
  seed: int = 0


def make_sampler(flow: Flow, task: Task, *, num_samples):
  """`sampler(variables, rng, batch, temperature=1.0) -> (given, samples,
  log_prob)`, jittable.

  From a batch of records: the condition as a picture [B, H, W, 3] and samples
  [B, n, S, S, 3], uint8, in the order they were drawn; and each sample's
  conditional log-likelihood [B, n] in nats. The temperature is one number, or
  one per level of latents.
  """

  def sampler(variables, rng, batch, temperature=1.0):
    _, cond = task.prepare(batch)
    x, log_prob = flow.sample(variables, rng, cond, num_samples, temperature)
    samples = color.to_uint8(render(task, x, cond))
    given = color.to_uint8(task.condition_picture(cond))
    return given, samples, log_prob

  return sampler


def render(task: Task, x, cond):
  """Samples x [B, n, ...] given cond as pictures [B, n, S, S, 3] in [0, 1]."""
  return jax.vmap(task.render, in_axes=(1, None), out_axes=1)(x, cond)


def rank(x, log_prob):
  """Samples [B, n, ...] and log_prob [B, n], most likely first per image."""
  order = jnp.argsort(-log_prob, axis=1)
  index = order.reshape(order.shape + (1,) * (x.ndim - 2))
  return (
    jnp.take_along_axis(x, index, axis=1),
    jnp.take_along_axis(log_prob, order, axis=1),
  )


def ranked_at(temperature):
  """What stands under a sheet of ranked samples."""
  name = temperatures.name(temperature)
  return f"samples in order of likelihood, temperature {name}"


def contact_sheet(task: Task, truth, given, samples, log_prob, note=""):
  """A sheet, one row per image: given, truth, samples, most likely first."""
  samples, _ = rank(samples, log_prob)
  rows = [
    [np.asarray(g), np.asarray(t), *np.asarray(s)]
    for t, g, s in zip(truth, given, samples, strict=True)
  ]
  titles = [task.condition_name, "truth"]
  titles += [f"sample {k + 1}" for k in range(samples.shape[1])]
  return sheets.contact_sheet(rows, column_titles=titles, note=note)
