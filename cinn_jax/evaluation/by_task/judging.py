"""Metrics per image, for a batch's samples and the pictures to compare with."""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

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
# `(variables, batch) -> uint8 [B, H, W, 3]`: an answer without sampling.
Picture = Callable[[Any, dict[str, Any]], np.ndarray]


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


class Judge:
  """Measures the samples of one trained model with every installed metric.

  Args:
    trained: The trained model.
    metrics: What to measure in addition to rmse: some of "spread", "psnr",
      "ssim", "lpips", "lpips_vgg16" and "consistency"; None for all that the
      size of the pictures and the installed weights allow.

  Attributes:
    variables: Variables of the flow. They may be replaced by those of another
      run of the same config; nothing is compiled again.
  """

  def __init__(self, trained: Trained, metrics: Collection[str] | None = None):
    self.variables = trained.variables
    self._pictures = _pictures(trained)
    self._has_likelihood = trained.flow.objective is None
    self._metrics = _metrics(trained.task, metrics)

  def reference(self, batch: dict[str, Any]) -> np.ndarray | None:
    """Returns the answer without a model, uint8 [B, H, W, 3], or None."""
    picture = self._pictures.get(NO_MODEL)
    return picture and picture(self.variables, batch)

  def rows(
    self,
    batch: dict[str, Any],
    outcomes: Sequence[tuple[np.ndarray, np.ndarray]],
  ) -> tuple[list[dict[str, Values]], dict[str, Values]]:
    """Returns `{row: {metric: [B]}}` for each outcome and for the references.

    Whatever depends on the truth alone is computed once for all outcomes.

    Args:
      batch: The records, with the truth as "image".
      outcomes: Samples, uint8 [B, n, H, W, 3], and the log-likelihood of each,
        [B, n], as drawn at several temperatures.
    """
    sets = Sets(len(outcomes), outcomes[0][0].shape[1])
    averages = [
      np.round(samples.mean(axis=1)).astype(np.uint8) for samples, _ in outcomes
    ]
    others = {
      name: make(self.variables, batch) for name, make in self._pictures.items()
    }
    single = [picture[:, None] for picture in (*averages, *others.values())]
    pictures = np.concatenate([*(s for s, _ in outcomes), *single], axis=1)
    each: Values = {}
    together: list[Values] = [{} for _ in outcomes]
    for measure in self._metrics.values():
      of_each, of_sets = measure(batch, pictures, sets)
      each |= of_each
      for values, more in zip(together, of_sets, strict=True):
        values |= more
    by_set = {name: sets.of(value) for name, value in each.items()}
    first = np.zeros(len(pictures), int)
    start = sets.number * sets.n
    rows = []
    for k, (_, log_prob) in enumerate(outcomes):
      own = {name: parts[k] for name, parts in by_set.items()}
      row = {
        ONE: _pick(own, first),
        MEAN: {k: v.mean(axis=1) for k, v in own.items()} | together[k],
        LIKELIEST: _pick(own, np.argmax(log_prob, axis=1)),
        BEST: _pick(own, np.argmin(own["rmse"], axis=1)),
        AVERAGE: _pick(each, first + start + k),
      }
      if not self._has_likelihood:
        del row[LIKELIEST]
      rows.append(row)
    references = {
      name: _pick(each, first + k)
      for k, name in enumerate(others, start=start + sets.number)
    }
    return rows, references

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
          values |= measure(batch, column, Sets(1, 1))[0]
      parts.append({k: v[:, 0] for k, v in values.items()})
    return {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }

  def lines(self, num_samples: int) -> list[str]:
    """Says what is missing from the table, and how to get it."""
    lines = []
    if not lpips.is_installed():
      lines.append(f"LPIPS needs its weights: {lpips.HOW_TO_GET}.")
    elif "lpips" not in self._metrics:
      lines.append(f"LPIPS needs sides of at least {_LPIPS_SIDE} pixels.")
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
  """Returns the name of the metric for a level, such as coverage_50."""
  return f"coverage_{round(100 * level)}"


def _pictures(trained: Trained) -> dict[str, Picture]:
  """Returns the answers without sampling that this task and model have."""
  task = trained.task
  pictures: dict[str, Picture] = {}

  def cond_of(batch):
    return task.prepare(batch)[1]

  if (answer := task.reference) is not None:
    pictures[NO_MODEL] = _compile(
      lambda _, batch: color.to_uint8(answer(cond_of(batch)))
    )
  net = getattr(trained.flow.module, _NET, None)
  if hasattr(net, "predict") and trained.flow.objective is None:

    def guess(variables, batch):
      cond = cond_of(batch)
      own = {k: v[_NET] for k, v in variables.items() if _NET in v}
      x = net.apply(own, cond, method="predict")
      return color.to_uint8(task.render(x, cond))

    pictures[REGRESSION] = _compile(guess)
  return pictures


def _compile(picture):
  """Compiles a `Picture`; the result is numpy."""
  compiled = jax.jit(picture)
  return lambda variables, batch: np.asarray(compiled(variables, batch))


def _metrics(task: Task, names: Collection[str] | None) -> dict[str, Metric]:
  """Returns the metrics that the pictures' size and the weights allow."""
  side = int(np.min(task.image_size))
  makers: dict[str, Callable[[], Metric]] = {
    "spread": lambda: _spread,
    "psnr": lambda: _per_picture("psnr", m.psnr),
    "rmse": lambda: _per_picture("rmse", m.rmse),
  }
  if side >= _SSIM_SIDE:
    makers["ssim"] = lambda: _per_picture("ssim", m.ssim)
  if lpips.is_installed() and side >= _LPIPS_SIDE:
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


def _pick(values, index):
  """Picks one picture per image: `{metric: [B, m]}` to `{metric: [B]}`."""
  return {k: value[np.arange(len(index)), index] for k, value in values.items()}
