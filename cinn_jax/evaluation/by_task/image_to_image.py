"""Quality of samples of image-to-image tasks, compared with references."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from cinn_jax.data.base import Source
from cinn_jax.evaluation.by_task import judging, picture_metrics
from cinn_jax.evaluation.by_task.fids import FIDS, fids
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling import temperatures as labels
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.workdir.trained import Trained

METRICS = {
  "psnr": table.Metric(
    "PSNR",
    "dB",
    "10 log10(255^2 / MSE) per image, RGB, no border cut;"
    f" {m.EXACT:g} for equal pictures",
  ),
  "rmse": table.Metric(
    "RMSE", "0-255", "root of the mean squared error per image, RGB"
  ),
  "ssim": table.Metric(
    "SSIM",
    "1",
    "Gaussian window of 11x11, sigma 1.5, population covariance, per channel",
  ),
  "lpips": table.Metric(
    "LPIPS",
    "1",
    "version 0.1, AlexNet, for pictures in [-1, 1] with the reference's shift"
    " and scale",
  ),
  "lpips_vgg16": table.Metric(
    "LPIPS by VGG16", "1", "as LPIPS, with another network's features"
  ),
  "consistency": table.Metric(
    "consistency",
    "dB",
    "PSNR between the given picture and the one that the sample leads back to;"
    f" {m.EXACT:g} if they are equal",
  ),
  "pixel_std": table.Metric(
    "pixel std",
    "0-255",
    "deviation over the n samples (divisor n - 1), mean over pixels",
  ),
  "pairwise_lpips": table.Metric(
    "LPIPS of pairs", "1", "mean over all pairs of the n samples"
  ),
  "ntire_diversity": table.Metric(
    "NTIRE21 diversity",
    "%",
    "how much lower LPIPS is if the best sample is chosen for each pixel, not"
    " for the whole picture",
  ),
  **{
    picture_metrics.coverage_name(level): table.Metric(
      f"coverage of {level:.0%}",
      "%",
      f"how often the central {level:.0%} interval of the n samples holds the"
      " truth, for means of 4x4 regions per channel, by rank",
    )
    for level in picture_metrics.LEVELS
  },
  **FIDS,
}
_LEGEND = (
  f"Rows: '{judging.LIKELIEST}' is chosen by the model without the truth,"
  f" '{judging.BEST}' by its RMSE to the truth; '{judging.NO_MODEL}' is the"
  " given picture: enlarged, unchanged, or with its hole filled with the mean;"
  f" '{judging.OTHER}' of the split is an answer that has nothing to do with"
  " the given picture."
)


def evaluate(
  trained: Trained, source: Source, workdir: pathlib.Path, sampling: Sampling
) -> table.Evaluation:
  """Evaluates samples of the pictures of a split.

  The model's rows are the first sample, the likeliest one, the one with the
  smallest error, the average picture, and the mean over the samples, which also
  has their diversity and coverage. Each temperature has these rows. The
  reference rows are the task's answer without a model, the condition network's
  own guess if it has a method `predict(cond) -> x`, and another real picture of
  the split. LPIPS and FID are measured if their weights are installed;
  otherwise a note says how to get them.
  """
  del workdir  # This task writes no file.
  num_samples, seed = sampling.num_samples, sampling.seed
  judge = judging.Judge(trained)
  rows = Rows(sampling.temperatures)
  parts = []
  for batch, _, outcomes in draw_over_split(trained, source, sampling):
    rows.add(*judge.rows(batch, outcomes))
    ones = (samples[:, 0] for samples, _ in outcomes)
    parts.append((batch["image"], judge.reference(batch), *ones))
  real, reference, *firsts = map(_join, zip(*parts, strict=True))
  order = np.random.default_rng(seed).permutation(len(real))
  if len(real) > 1:
    others = np.empty_like(real)
    others[order] = real[np.roll(order, 1)]
    rows.add([], {judging.OTHER: judge.pair(real, others)})
  sets = {
    rows.name(judging.ONE, temperature): first
    for temperature, first in zip(sampling.temperatures, firsts, strict=True)
  }
  sets |= {judging.NO_MODEL: reference, judging.OTHER: real}
  distances, notes = fids(real, sets, order)
  results = rows.summary(distances, num_samples, seed)
  title = trained.task.consistency_name
  metrics = METRICS | {
    "consistency": METRICS["consistency"]._replace(title=title)
  }
  return results, metrics, [_LEGEND, *judge.lines(num_samples), *notes]


class Rows:
  """The rows of a table, filled batch by batch.

  Args:
    temperatures: Temperatures of the samples. If there are several, they appear
      in the names of the rows.
  """

  def __init__(self, temperatures: Sequence[float | Sequence[float]]):
    self._temperatures = temperatures
    self._rows: dict[str, tuple[str, Accumulator]] = {}

  def name(self, row: str, temperature: float | Sequence[float]) -> str:
    """Returns the name of a row of `judging` at a temperature."""
    return labels.label(row, temperature, self._temperatures)

  def add(
    self,
    of_samples: Sequence[Mapping[str, judging.Values]],
    references: Mapping[str, judging.Values],
  ) -> None:
    """Adds the values that `Judge.rows` measured for a batch."""
    for temperature, rows in zip(self._temperatures, of_samples, strict=False):
      for row, values in rows.items():
        self._add(self.name(row, temperature), row, values)
    for row, values in references.items():
      self._add(row, row, values)

  def _add(self, name, row, values):
    empty = row, Accumulator(dict.fromkeys(values, "mean"))
    self._rows.setdefault(name, empty)[1].add(values)

  def summary(
    self,
    distances: Mapping[str, Mapping[str, table.Measured]],
    num_samples: int,
    seed: int,
  ) -> dict[str, table.Row]:
    """Returns the rows, those of the samples before the references.

    Args:
      distances: Distances between sets of pictures, by row and metric.
      num_samples: Number of samples per picture and temperature.
      seed: Seed for the intervals.
    """
    ordered = sorted(
      self._rows.items(), key=lambda item: item[1][0] in judging.REFERENCES
    )
    return {
      name: _row(kind, row, distances.get(name, {}), num_samples, seed)
      for name, (kind, row) in ordered
    }


def _row(kind, row, distances, num_samples, seed):
  counts = {judging.ONE: 1} | dict.fromkeys(judging.REFERENCES, 1)
  values = {k: (value, None) for k, (value, _) in row.summary(seed).items()}
  intervals = row.intervals(seed)
  for metric, (value, interval) in distances.items():
    values[metric] = value, None
    if interval:
      intervals[metric] = interval
  return table.Row(
    metrics=values,
    mark="reference" if kind in judging.REFERENCES else "ours",
    images=row.count,
    samples=counts.get(kind, num_samples),
    intervals=intervals,
  )


def _join(parts):
  return None if parts[0] is None else np.concatenate(parts)
