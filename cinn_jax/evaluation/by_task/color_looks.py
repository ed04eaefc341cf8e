"""Looks of colorizations: perceptual distance, colourfulness, spread, odds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cinn_jax.evaluation.by_task import (
  image_to_image,
  judging,
  picture_metrics,
)
from cinn_jax.evaluation.by_task.fids import FIDS, fids
from cinn_jax.evaluation.metrics.colorfulness import colorfulness
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table
from cinn_jax.workdir.trained import Trained

_COVERAGE = [
  picture_metrics.coverage_name(level) for level in picture_metrics.LEVELS
]
METRICS = {
  "lpips": image_to_image.METRICS["lpips"]._replace(
    protocol="of the first sample; version 0.1, AlexNet"
  ),
  "beats_grey": table.Metric(
    "beats grey", "%", "share of pictures whose first sample beats grey by RMSE"
  ),
  "colorfulness": table.Metric(
    "colourfulness",
    "0-255",
    "of the first sample, by absolute differences of channels (as in DDColor)",
  ),
  **{
    name: image_to_image.METRICS[name]
    for name in ("pixel_std", "pairwise_lpips", *_COVERAGE)
  },
  **FIDS,
}


class Looks:
  """The looks of a split's samples, grey and true pictures, batch by batch.

  Args:
    trained: The trained colorizer.
    names: Names of the samples' rows, one for each temperature.
    grey: Name of the row of grey pictures.
    real: Name of the row of true pictures.
  """

  def __init__(
    self, trained: Trained, names: Sequence[str], grey: str, real: str
  ):
    self._judge = judging.Judge(trained, ("spread", "lpips"))
    self._names, self._grey, self._real = names, grey, real
    self._rows: dict[str, Accumulator] = {}
    self._pictures: dict[str, list[np.ndarray]] = {}

  def add(
    self,
    batch: dict[str, Any],
    given: np.ndarray,
    outcomes: Sequence[tuple[np.ndarray, np.ndarray]],
  ) -> None:
    """Measures a batch, given the three values from `draw_over_split`."""
    truth = batch["image"]
    of_grey = self._judge.pair(truth, given)
    rows, _ = self._judge.rows(batch, outcomes)
    for name, row, (samples, _) in zip(
      self._names, rows, outcomes, strict=True
    ):
      one = row[judging.ONE]
      wins = np.asarray(one["rmse"]) < np.asarray(of_grey["rmse"])
      together = {k: v for k, v in row[judging.MEAN].items() if k in METRICS}
      values = {**together, "beats_grey": 100.0 * wins}
      self._add(name, samples[:, 0], one, values)
    self._add(self._grey, given, of_grey)
    self._add(self._real, truth, {})

  def _add(self, name, pictures, one, more=None):
    values = dict(more or {})
    if "lpips" in one:
      values["lpips"] = one["lpips"]
    values["colorfulness"] = colorfulness(pictures)
    empty = Accumulator(dict.fromkeys(values, "mean"))
    self._rows.setdefault(name, empty).add(values)
    self._pictures.setdefault(name, []).append(np.asarray(pictures))

  def summary(
    self, num_samples: int, seed: int
  ) -> tuple[dict[str, table.Row], list[str]]:
    """Returns the rows by name, and notes about metrics that they lack."""
    sets: Mapping[str, Any] = {
      name: np.concatenate(parts) for name, parts in self._pictures.items()
    }
    real = sets[self._real]
    order = np.random.default_rng(seed).permutation(len(real))
    distances, notes = fids(real, sets, order)
    rows = {}
    for name, row in self._rows.items():
      metrics, intervals = row.summary(seed), row.intervals(seed)
      for metric, (value, interval) in distances.get(name, {}).items():
        metrics[metric] = value, None
        if interval:
          intervals[metric] = interval
      rows[name] = table.Row(metrics=metrics, intervals=intervals)
    lines = [
      line
      for line in self._judge.lines(num_samples)
      if line.startswith(("LPIPS", "Coverage"))
    ]
    return rows, [*self._differences(rows), *lines, *notes]

  def _differences(self, rows):
    """Returns lines that compare mean colourfulness with the truth's."""
    real = rows[self._real].metrics["colorfulness"][0]
    return [
      f"Colourfulness of {name} minus the truth's, of means:"
      f" {rows[name].metrics['colorfulness'][0] - real:+.2f}."
      for name in self._names
    ]
