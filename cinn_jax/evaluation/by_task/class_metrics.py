"""Metrics of pictures drawn for a class, per picture and per row.

Pictures are grey, uint8 [N, n, S, S]: n pictures for each of N labels. Errors
are in percent of the range of a pixel.
"""

from collections.abc import Callable

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
    "share of pictures that a classifier, trained on real training pictures"
    " alone, assigns to the class that they were drawn for",
  ),
  "spread": table.Metric(
    "spread within class",
    "%",
    "RMSE between a picture and the mean of its class in the same row, times"
    " the root of m / (m - 1) for m pictures in that mean",
    "root mean square",
  ),
  "neighbour": table.Metric(
    "nearest training image",
    "%",
    "smallest RMSE between a picture and one of the training split",
  ),
}
_CHUNK = 256


def evaluate(
  pictures: np.ndarray,
  labels: np.ndarray,
  classify: Callable,
  nearest: Callable,
  *,
  mark: str = "ours",
  seed: int = 0,
) -> table.Row:
  """Returns the `table.Row` of pictures drawn for labels.

  Args:
    pictures: uint8 [N, n, S, S].
    labels: int [N].
    classify: Result of `classifier.train_classifier`.
    nearest: Result of `make_nearest`.
    mark: One of `table.MARKS`.
    seed: Seed for the bootstrap.
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
  return table.Row(
    metrics=row.summary(seed),
    mark=mark,
    images=count,
    samples=draws,
    intervals=row.intervals(seed),
  )


def spread(pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the RMSE between pictures and their class's mean, in percent: [N].

  Takes uint8 [N, n, S, S] and int [N]; each value is the root mean square over
  the n pictures. The root mean square of the values in a row estimates the
  standard deviation of a pixel within its class.
  """
  values = np.zeros(len(pictures))
  for label in np.unique(labels):
    in_class = labels == label
    members = pictures[in_class] / 255.0
    deviations = np.square(members - members.mean(axis=(0, 1)))
    size = members.shape[0] * members.shape[1]
    unbiased = size / max(size - 1, 1)
    values[in_class] = PERCENT * np.sqrt(
      unbiased * deviations.mean(axis=(1, 2, 3))
    )
  return values


def make_nearest(training: np.ndarray) -> Callable:
  """Returns `nearest(pictures uint8 [M, S, S]) -> (RMSE [M], index [M])`.

  It searches `training`, uint8 [T, S, S], for the picture at the smallest
  Euclidean distance; the RMSE is in percent. It raises ValueError for pictures
  of another size.
  """
  shape, dims = training.shape, training[0].size
  points = jnp.asarray(training.reshape(len(training), dims), jnp.float32) / 255
  norms = jnp.sum(points**2, axis=-1)

  @jax.jit
  def closest(flat):
    flat = flat.astype(jnp.float32) / 255
    products = jnp.matmul(flat, points.T, precision="highest")
    return jnp.argmin(norms[None] - 2 * products, axis=-1)

  def nearest(pictures):
    if pictures.shape[1:] != shape[1:]:
      raise ValueError(
        f"Training pictures are {list(shape[1:])}, these are"
        f" {list(pictures.shape[1:])}."
      )
    results = []
    for part in np.array_split(pictures, -(-len(pictures) // _CHUNK)):
      index = np.asarray(closest(part.reshape(len(part), dims)))
      # Computed again from the pair itself: for close pictures, the distance
      # from the products is mostly rounding error.
      difference = part / 255.0 - training[index] / 255.0
      rmse = np.sqrt(np.square(difference).mean(axis=(1, 2)))
      results.append((PERCENT * rmse, index))
    return tuple(
      np.concatenate(values) for values in zip(*results, strict=True)
    )

  return nearest
