"""Metrics of pictures and of sets of samples, for `judging.Judge`."""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.metrics import lpips
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.tasks import Task

# Levels of the intervals whose coverage is measured.
LEVELS = (0.5, 0.8, 0.9)
_SSIM_SIDE = 11
LPIPS_SIDE = max(lpips.SMALLEST.values())

Values = dict[str, np.ndarray]


class Sets(NamedTuple):
  """The layout of the first columns of pictures: sets of n samples each."""

  number: int
  n: int

  def of(self, columns: Any) -> list[Any]:
    """Returns each set's part of [B, m, ...] as [B, n, ...]."""
    starts = range(0, self.number * self.n, self.n)
    return [columns[:, start : start + self.n] for start in starts]


# `(batch, pictures uint8 [B, m, H, W, 3], sets) -> (each, together)`: values
# [B, m] of each picture, and for each set values [B] of its samples together.
Metric = Callable[
  [dict[str, Any], np.ndarray, Sets], tuple[Values, Sequence[Values]]
]


def coverage_name(level: float) -> str:
  """Returns the name of the metric for a level, such as coverage_50."""
  return f"coverage_{round(100 * level)}"


def metrics_for(task: Task, names: Collection[str] | None) -> dict[str, Metric]:
  """Returns the metrics that the pictures' size and the weights allow."""
  side = int(np.min(task.image_size))
  makers: dict[str, Callable[[], Metric]] = {
    "spread": lambda: _spread,
    "psnr": lambda: _per_picture("psnr", m.psnr),
    "rmse": lambda: _per_picture("rmse", m.rmse),
  }
  if side >= _SSIM_SIDE:
    makers["ssim"] = lambda: _per_picture("ssim", m.ssim)
  if lpips.is_installed() and side >= LPIPS_SIDE:
    makers["lpips"] = lambda: _lpips(lpips.make_lpips())
    makers["lpips_vgg16"] = lambda: _lpips_vgg16(lpips.make_lpips("vgg16"))
  if task.consistency is not None:
    makers["consistency"] = lambda: _consistency(task)
  return {
    name: make()
    for name, make in makers.items()
    if names is None or name in (*names, "rmse")
  }


def _per_picture(name, function):
  """Returns the `Metric` of `function(truth, pictures [B, H, W, 3]) -> [B]`."""

  def measure(batch, pictures, sets):
    columns = np.moveaxis(pictures, 1, 0)
    values = [function(batch["image"], column) for column in columns]
    return {name: np.stack(values, axis=1)}, _nothing(sets)

  return measure


def _nothing(sets):
  return [{} for _ in range(sets.number)]


def _spread(batch, pictures, sets):
  """Measures the diversity of the samples, and the coverage of the truth."""
  together = _nothing(sets)
  for values, samples in zip(together, sets.of(pictures), strict=True):
    for level in LEVELS:
      if sets.n >= m.samples_for(level):
        covered = m.coverage(batch["image"], samples, level)
        values[coverage_name(level)] = covered
    if sets.n > 1:
      values["pixel_std"] = m.pixel_std(samples)
  return {}, together


def _consistency(task):
  several = jax.vmap(task.consistency, (1, None), 1)

  @jax.jit
  def decibels(batch, pictures):
    return several(pictures / 255, task.prepare(batch)[1])

  def measure(batch, pictures, sets):
    values = m.bounded(decibels(batch, pictures))
    return {"consistency": values}, _nothing(sets)

  return measure


def _lpips(metric):
  """Returns the `Metric` of LPIPS: distances, and the diversity of samples."""

  @functools.partial(jax.jit, static_argnums=2)
  def run(truth, pictures, sets):
    real = metric.embed(truth)
    features = jax.vmap(metric.embed, 1, 1)(pictures)
    by_layer = [sets.of(layer) for layer in features]
    samples = list(zip(*by_layer, strict=True))

    def against(function, features):
      return jax.vmap(lambda one: function(real, one), 1, 1)(features)

    def maps(samples):
      size = truth.shape[1:3]
      return against(lambda a, b: metric.distance_map(a, b, size), samples)

    distances = against(metric.distance, features)
    if sets.n == 1:
      return distances, ()
    return distances, [(metric.diversity(s), maps(s)) for s in samples]

  def measure(batch, pictures, sets):
    distances, of_sets = run(batch["image"], pictures, sets)
    together = [
      {
        "pairwise_lpips": np.asarray(diversity),
        "ntire_diversity": m.ntire_diversity(maps),
      }
      for diversity, maps in of_sets
    ]
    return {"lpips": np.asarray(distances)}, together or _nothing(sets)

  return measure


def _lpips_vgg16(metric):
  """Returns the `Metric` of LPIPS by a larger network, without diversity."""

  @jax.jit
  def run(truth, pictures):
    real = metric.embed(truth)
    # One at a time, because the features of all would fill the memory.
    columns = jax.lax.map(
      lambda column: metric.distance(real, metric.embed(column)),
      jnp.moveaxis(pictures, 1, 0),
    )
    return columns.T

  def measure(batch, pictures, sets):
    values = np.asarray(run(batch["image"], pictures))
    return {"lpips_vgg16": values}, _nothing(sets)

  return measure
