"""What pictures drawn for a class are worth: per picture, then for a row.

Pictures are grey, uint8: [N, n, S, S], n of them for each of N labels. Errors
are in percent of the range [0, 1] of a pixel.
"""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.metrics.cinn_protocol import PERCENT
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table

METRICS = {
  "accuracy": table.Metric(
    "classified as asked",
    "%",
    "share that a classifier, trained on the real training split alone, finds"
    " in the class that they were drawn for",
  ),
  "spread": table.Metric(
    "spread within class",
    "%",
    "RMSE between a picture and the mean of its class in the same row, times"
    " root m / (m - 1) of the m pictures in that mean",
    "root mean square",
  ),
  "neighbour": table.Metric(
    "nearest training image",
    "%",
    "smallest RMSE between a picture and one of the training split",
  ),
}
_CHUNK = 256


def evaluate(pictures, labels, classify, nearest, mark="ours", seed=0):
  """The `report.Row` of uint8 [N, n, S, S] drawn for int labels [N].

  Args:
    classify: from `classifier.train_classifier`.
    nearest: from `make_nearest`.
    seed: of the bootstrap.
  """
  count, draws = pictures.shape[:2]
  flat = pictures.reshape(count * draws, *pictures.shape[2:])
  hits = classify(flat).reshape(count, draws) == labels[:, None]
  distances = nearest(flat)[0].reshape(count, draws)
  row = Accumulator(
    {name: metric.reduction for name, metric in METRICS.items()}
  )
  row.add(
    {
      "accuracy": PERCENT * hits.mean(axis=1),
      "spread": spread(pictures, labels),
      "neighbour": distances.mean(axis=1),
    }
  )
  summary, intervals = row.summary(seed), row.intervals(seed)
  return table.Row(summary, mark, count, draws, intervals)


def spread(pictures, labels):
  """How far pictures are from their class's mean: RMSE in percent, [N].

  Of uint8 [N, n, S, S]; root mean square over the n. The root of its mean
  square over a row estimates the standard deviation of a pixel within its
  class.
  """
  values = np.zeros(len(pictures))
  for label in np.unique(labels):
    chosen = labels == label
    members = pictures[chosen] / 255.0
    deviations = np.square(members - members.mean(axis=(0, 1)))
    size = members.shape[0] * members.shape[1]
    unbiased = size / max(size - 1, 1)
    values[chosen] = PERCENT * np.sqrt(
      unbiased * deviations.mean(axis=(1, 2, 3))
    )
  return values


def make_nearest(training):
  """`nearest(pictures uint8 [M, S, S]) -> (RMSE in percent [M], index [M])`.

  The nearest of `training`, uint8 [T, S, S], by Euclidean distance.
  """
  shape, dims = training.shape, training[0].size
  known = jnp.asarray(training.reshape(len(training), dims), jnp.float32) / 255
  norms = jnp.sum(known**2, axis=-1)

  @jax.jit
  def closest(flat):
    flat = flat.astype(jnp.float32) / 255
    products = jnp.matmul(flat, known.T, precision="highest")
    return jnp.argmin(norms[None] - 2 * products, axis=-1)

  def nearest(pictures):
    if pictures.shape[1:] != shape[1:]:
      raise ValueError(
        f"Training pictures are {list(shape[1:])}, these are"
        f" {list(pictures.shape[1:])}."
      )
    parts = np.array_split(pictures, -(-len(pictures) // _CHUNK))
    found = []
    for part in parts:
      index = np.asarray(closest(part.reshape(len(part), dims)))
      # Of the pair itself: what the products leave of it is mostly rounding.
      difference = part / 255.0 - training[index] / 255.0
      rmse = np.sqrt(np.square(difference).mean(axis=(1, 2)))
      found.append((PERCENT * rmse, index))
    return tuple(np.concatenate(values) for values in zip(*found, strict=True))

  return nearest
