"""Metrics per image, for a batch's samples and the pictures to compare with."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import numpy as np

from cinn_jax.evaluation.by_task.picture_metrics import (
  LEVELS,
  LPIPS_SIDE,
  Sets,
  Values,
  metrics_for,
)
from cinn_jax.evaluation.metrics import lpips
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.images import color
from cinn_jax.workdir.trained import Trained

# The rows of a table of samples.
ONE, LIKELIEST, BEST = "one sample", "likeliest of n", "best of n by error"
MEAN, AVERAGE = "mean of n samples", "average picture of n"
NO_MODEL, REGRESSION, OTHER = "no model", "regression", "another real picture"
REFERENCES = (NO_MODEL, REGRESSION, OTHER)
_NET = "condition_net"

# `(variables, batch) -> uint8 [B, H, W, 3]`: an answer without sampling.
Picture = Callable[[Any, dict[str, Any]], np.ndarray]


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
    self._metrics = metrics_for(trained.task, metrics)

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
      lines.append(f"LPIPS needs sides of at least {LPIPS_SIDE} pixels.")
    if missing := [q for q in LEVELS if num_samples < m.samples_for(q)]:
      counts = ", ".join(f"{m.samples_for(q)} for {q:.0%}" for q in missing)
      lines.append(f"Coverage takes more samples: {counts} (--num_samples).")
    lines.append(
      f"'{REGRESSION}' is the condition network's own guess."
      if REGRESSION in self._pictures
      else "This model's condition network makes no guess of its own."
    )
    return lines


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


def _pick(values, index):
  """Picks one picture per image: `{metric: [B, m]}` to `{metric: [B]}`."""
  return {k: value[np.arange(len(index)), index] for k, value in values.items()}
