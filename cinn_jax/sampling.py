"""Several answers for each picture, and the sheets that show them."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax import color, pictures
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task


def make_sampler(flow: Flow, task: Task, *, num_samples, temperature=1.0):
  """`sampler(variables, rng, image) -> (truth, cond, samples, log_prob)`.

  Jittable. From pictures `image` uint8 [B, S, S, 3]: the truth as given, the
  condition as a picture, samples [B, n, S, S, 3], all uint8, and each sample's
  conditional log-likelihood [B, n] in nats, most likely first.
  """

  def sampler(variables, rng, image):
    _, cond = task.prepare(image)
    x, log_prob = flow.sample(variables, rng, cond, num_samples, temperature)
    x, log_prob = rank(x, log_prob)
    samples = jax.vmap(task.render, in_axes=(1, None), out_axes=1)(x, cond)
    given = color.to_uint8(task.condition_picture(cond))
    return image, given, color.to_uint8(samples), log_prob

  return sampler


def rank(x, log_prob):
  """Samples [B, n, ...] and log_prob [B, n], most likely first per image."""
  order = jnp.argsort(-log_prob, axis=1)
  index = order.reshape(order.shape + (1,) * (x.ndim - 2))
  return (
    jnp.take_along_axis(x, index, axis=1),
    jnp.take_along_axis(log_prob, order, axis=1),
  )


def contact_sheet(task: Task, truth, given, samples, note=""):
  """A sheet of pictures, one row per image: given, truth, samples."""
  rows = [
    [np.asarray(g), np.asarray(t), *np.asarray(s)]
    for t, g, s in zip(truth, given, samples, strict=True)
  ]
  titles = [task.condition_name, "truth"]
  titles += [f"sample {k + 1}" for k in range(samples.shape[1])]
  return pictures.contact_sheet(rows, column_titles=titles, note=note)
