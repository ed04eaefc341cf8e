"""Values per image of a batch's samples and of what they are compared with."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.metrics import lpips
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.images import color
from cinn_jax.tasks import Task
from cinn_jax.workdir.trained import Trained

# The rows of a table of samples.
ONE, LIKELIEST, BEST = "one sample", "likeliest of n", "best of n by error"
MEAN, AVERAGE = "mean of n samples", "average picture of n"
NO_MODEL, REGRESSION, OTHER = "no model", "regression", "another real picture"
REFERENCES = (NO_MODEL, REGRESSION, OTHER)
# Levels of the intervals whose coverage is measured.
LEVELS = (0.5, 0.8, 0.9)
_NET = "condition_net"
_SSIM_SIDE, _LPIPS_SIDE = 11, max(lpips.SMALLEST.values())

Values = dict[str, np.ndarray]
# `(batch) -> uint8 [B, H, W, 3]`: an answer that needs no sample.
Picture = Callable[[dict[str, Any]], np.ndarray]
# `(batch, pictures uint8 [B, m, H, W, 3], n) -> values`: [B, m] for values of
# each picture, [B] for values of the first n, the samples, together.
Metric = Callable[[dict[str, Any], np.ndarray, int], Values]


class Judge:
  """Measures the samples of one trained model with every installed metric."""

  def __init__(self, trained: Trained):
    self._pictures = _pictures(trained)
    self._metrics = _metrics(trained.task)

  def reference(self, batch: dict[str, Any]) -> np.ndarray | None:
    """Returns the answer without a model, uint8 [B, H, W, 3], or None."""
    picture = self._pictures.get(NO_MODEL)
    return picture and picture(batch)

  def rows(
    self, batch: dict[str, Any], samples: np.ndarray, log_prob: np.ndarray
  ) -> dict[str, Values]:
    """Returns `{row: {metric: [B]}}`.

    Args:
      batch: The records, with the truth as "image".
      samples: uint8 [B, n, H, W, 3].
      log_prob: Log-likelihood of each sample, [B, n].
    """
    n = samples.shape[1]
    single = {AVERAGE: np.round(samples.mean(axis=1)).astype(np.uint8)}
    single |= {name: make(batch) for name, make in self._pictures.items()}
    columns = [samples, *(picture[:, None] for picture in single.values())]
    pictures = np.concatenate(columns, axis=1)
    values: Values = {}
    for measure in self._metrics.values():
      values |= measure(batch, pictures, n)
    together = {k: v for k, v in values.items() if v.ndim == 1}
    each = {k: v for k, v in values.items() if v.ndim == 2}
    of_samples = {name: value[:, :n] for name, value in each.items()}
    first = np.zeros(len(samples), int)
    rows = {
      ONE: _pick(of_samples, first),
      MEAN: {k: v.mean(axis=1) for k, v in of_samples.items()} | together,
      LIKELIEST: _pick(of_samples, np.argmax(log_prob, axis=1)),
      BEST: _pick(of_samples, np.argmin(of_samples["rmse"], axis=1)),
    }
    for k, name in enumerate(single, start=n):
      rows[name] = _pick(each, first + k)
    return rows

  def pair(
    self, truth: np.ndarray, pictures: np.ndarray, batch_size: int = 64
  ) -> Values:
    """Returns `{metric: [N]}` of uint8 [N, H, W, 3], one picture per truth.

    Leaves out the consistency, which needs the condition.
    """
    parts = []
    for k in range(0, len(truth), batch_size):
      batch = {"image": truth[k : k + batch_size]}
      column = pictures[k : k + batch_size, None]
      values: Values = {}
      for name, measure in self._metrics.items():
        if name != "consistency":
          values |= measure(batch, column, 1)
      parts.append({k: v[:, 0] for k, v in values.items() if v.ndim == 2})
    return {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }

  def lines(self, num_samples: int) -> list[str]:
    """Lists what is missing from the table, and how to get it."""
    lines = []
    if not lpips.is_installed():
      lines.append(f"LPIPS needs its weights: {lpips.HOW_TO_GET}.")
    elif "lpips" not in self._metrics:
      lines.append(f"LPIPS takes pictures of at least {_LPIPS_SIDE} pixels.")
    if missing := [q for q in LEVELS if num_samples < m.samples_for(q)]:
      counts = ", ".join(f"{m.samples_for(q)} for {q:.0%}" for q in missing)
      lines.append(f"Coverage takes more samples: {counts} (--num_samples).")
    lines.append(
      f"'{REGRESSION}' is the condition network's own guess."
      if REGRESSION in self._pictures
      else "This model's condition network makes no guess of its own."
    )
    return lines


def coverage_name(level: float) -> str:
  """Returns the metric's name, such as coverage_50."""
  return f"coverage_{round(100 * level)}"


def _pictures(trained: Trained) -> dict[str, Picture]:
  """Returns the answers without a sample that this task and model have."""
  task = trained.task
  pictures: dict[str, Picture] = {}

  def cond_of(batch):
    return task.prepare(batch)[1]

  if (answer := task.reference) is not None:
    pictures[NO_MODEL] = _compile(
      lambda batch: color.to_uint8(answer(cond_of(batch)))
    )
  net = getattr(trained.flow.module, _NET, None)
  if hasattr(net, "predict"):
    own = {k: v[_NET] for k, v in trained.variables.items() if _NET in v}

    def guess(batch):
      cond = cond_of(batch)
      x = net.apply(own, cond, method="predict")
      return color.to_uint8(task.render(x, cond))

    pictures[REGRESSION] = _compile(guess)
  return pictures


def _compile(picture):
  """Compiles a `Picture`; the result is numpy."""
  compiled = jax.jit(picture)
  return lambda batch: np.asarray(compiled(batch))


def _metrics(task: Task) -> dict[str, Metric]:
  """Returns the metrics that pictures of this size and the weights allow."""
  side = int(np.min(task.image_size))
  metrics: dict[str, Metric] = {
    "spread": _spread,
    "psnr": _per_picture("psnr", m.psnr),
    "rmse": _per_picture("rmse", m.rmse),
  }
  if side >= _SSIM_SIDE:
    metrics["ssim"] = _per_picture("ssim", m.ssim)
  if lpips.is_installed() and side >= _LPIPS_SIDE:
    metrics["lpips"] = _lpips(lpips.make_lpips())
    metrics["lpips_vgg16"] = _lpips_vgg16(lpips.make_lpips("vgg16"))
  if task.consistency is not None:
    metrics["consistency"] = _consistency(task)
  return metrics


def _per_picture(name, function):
  """Returns the `Metric` of `function(truth, pictures [B, H, W, 3]) -> [B]`."""

  def measure(batch, pictures, n):
    del n
    columns = np.moveaxis(pictures, 1, 0)
    values = [function(batch["image"], column) for column in columns]
    return {name: np.stack(values, axis=1)}

  return measure


def _spread(batch, pictures, n):
  """Measures the diversity of the samples, and the coverage of the truth."""
  truth, samples = batch["image"], pictures[:, :n]
  values = {
    coverage_name(level): m.coverage(truth, samples, level)
    for level in LEVELS
    if n >= m.samples_for(level)
  }
  if n > 1:
    values["pixel_std"] = m.pixel_std(samples)
  return values


def _consistency(task):
  several = jax.vmap(task.consistency, (1, None), 1)

  @jax.jit
  def decibels(batch, pictures):
    return several(pictures / 255, task.prepare(batch)[1])

  def measure(batch, pictures, n):
    del n
    return {"consistency": m.bounded(decibels(batch, pictures))}

  return measure


def _lpips(metric):
  """Returns the `Metric` of LPIPS: distances, and the diversity of samples."""

  @functools.partial(jax.jit, static_argnums=2)
  def run(truth, pictures, n):
    real = metric.embed(truth)
    features = jax.vmap(metric.embed, 1, 1)(pictures)
    samples = jax.tree.map(lambda leaf: leaf[:, :n], features)

    def against(function, features):
      return jax.vmap(lambda one: function(real, one), 1, 1)(features)

    size = truth.shape[1:3]
    return (
      against(metric.distance, features),
      against(lambda a, b: metric.distance_map(a, b, size), samples),
      metric.diversity(samples) if n > 1 else None,
    )

  def measure(batch, pictures, n):
    distances, maps, diversity = run(batch["image"], pictures, n)
    values = {"lpips": np.asarray(distances)}
    if n > 1:
      values["pairwise_lpips"] = np.asarray(diversity)
      values["ntire_diversity"] = m.ntire_diversity(maps)
    return values

  return measure


def _lpips_vgg16(metric):
  """Returns the `Metric` of LPIPS by a larger network: distances alone."""

  @jax.jit
  def run(truth, pictures):
    real = metric.embed(truth)
    # One after the other, because the features of all would fill the memory.
    columns = jax.lax.map(
      lambda column: metric.distance(real, metric.embed(column)),
      jnp.moveaxis(pictures, 1, 0),
    )
    return columns.T

  def measure(batch, pictures, n):
    del n
    return {"lpips_vgg16": np.asarray(run(batch["image"], pictures))}

  return measure


def _pick(values, index):
  """Picks one picture per image: `{metric: [B, m]}` to `{metric: [B]}`."""
  return {k: value[np.arange(len(index)), index] for k, value in values.items()}
