"""Quality of colorizations, compared with grey pictures and the truth."""

import pathlib
from collections.abc import Callable

import numpy as np

from cinn_jax.data.base import Source
from cinn_jax.evaluation.by_task import color_looks
from cinn_jax.evaluation.metrics import cinn_protocol, splits
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling import temperatures as labels
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.workdir.trained import Trained

METRICS = {
  "single_rmse": table.Metric("RMSE of 1", "%", "RMSE of the first sample"),
  "mean_rmse": table.Metric(
    "RMSE, mean of n", "%", "mean of the n samples' RMSE"
  ),
  "best_of_n_per_image": table.Metric(
    "best of n by image", "%", "RMSE of the best whole sample"
  ),
  "best_of_n_per_image_pooled": table.Metric(
    "best of n by image, pooled",
    "%",
    "RMSE of the best whole sample (as in the published LSUN script)",
    "root mean square",
  ),
  "best_of_n_per_pixel": table.Metric(
    "best of n by pixel",
    "%",
    "root of the mean, over pixels and channels, of the smallest squared error"
    " among the n samples (as in the published ImageNet script)",
  ),
  "variance": table.Metric(
    "variance",
    "1e-4",
    "variance over the n samples (divisor n), mean over pixels and channels",
  ),
  "lightness_error_mean": table.Metric(
    "L error, mean", "L", "mean of |L(sample) - L(truth)|"
  ),
  "lightness_error_max": table.Metric(
    "L error, max", "L", "largest |L(sample) - L(truth)|", "max"
  ),
}


def evaluate(
  trained: Trained, source: Source, workdir: pathlib.Path, sampling: Sampling
) -> table.Evaluation:
  """Evaluates colorizations of the pictures of a split.

  There are two reference rows: the condition itself ("grey"), and the truth in
  place of the samples. Samples stay in the order in which they were drawn: a
  ranking would bias the error of a single sample. LPIPS, FID and KID are
  measured if their weights are installed; otherwise a note says how to get
  them.
  """
  del workdir  # This task writes no file.
  names = [
    labels.label("samples", temperature, sampling.temperatures)
    for temperature in sampling.temperatures
  ]
  grey, real = trained.task.condition_name, "real against itself"
  methods = {name: Method() for name in names}
  methods |= {grey: Method("reference"), real: Method("reference")}
  looks = color_looks.Looks(trained, names, grey, real)
  for batch, given, outcomes in draw_over_split(trained, source, sampling):
    looks.add(batch, given, outcomes)
    truth = batch["image"]
    drawn = (samples for samples, _ in outcomes)
    columns = (*drawn, given[:, None], truth[:, None])
    for method, pictures in zip(methods.values(), columns, strict=True):
      method.add(truth, pictures)
  more, notes = looks.summary(sampling.num_samples, sampling.seed)
  rows = {
    name: _joined(method.row(), more[name]) for name, method in methods.items()
  }
  return rows, METRICS | color_looks.METRICS, notes


def _joined(row: table.Row, more: table.Row) -> table.Row:
  return row._replace(
    metrics={**row.metrics, **more.metrics},
    intervals={**(row.intervals or {}), **(more.intervals or {})},
  )


class Method:
  """Measures one method over a whole split, batch by batch.

  Args:
    mark: One of `table.MARKS`.
    to_lightness: See `cinn_protocol.lightness_error`.
  """

  def __init__(
    self,
    mark: str = "ours",
    to_lightness: Callable = cinn_protocol.lightness,
  ):
    self._mark, self._to_lightness = mark, to_lightness
    self._num_samples: int | None = None
    self._split = splits.Accumulator(
      {name: metric.reduction for name, metric in METRICS.items()}
    )

  def add(
    self,
    truth: np.ndarray,
    samples: np.ndarray,
    mask: np.ndarray | None = None,
  ) -> None:
    """Measures a batch; the arguments are those of `per_example`.

    Raises:
      ValueError: for bad pictures, or if n changes between batches.
    """
    self._split.add(per_example(truth, samples, mask, self._to_lightness))
    n = np.shape(samples)[1]
    if self._num_samples not in (None, n):
      raise ValueError(
        f"a batch has {n} samples per image, earlier ones had"
        f" {self._num_samples}; the best of n needs one n for the whole split."
      )
    self._num_samples = n

  def row(self, seed: int = 0) -> table.Row:
    """Summarises all batches.

    Args:
      seed: Seed for the bootstrap.

    Raises:
      ValueError: if no image was kept.
    """
    return table.Row(
      metrics=self._split.summary(seed),
      mark=self._mark,
      images=self._split.count,
      samples=self._num_samples,
      intervals=self._split.intervals(seed),
    )


def per_example(
  truth: np.ndarray,
  samples: np.ndarray,
  mask: np.ndarray | None = None,
  to_lightness: Callable = cinn_protocol.lightness,
) -> dict[str, np.ndarray]:
  """Returns every value of `METRICS` for each image that `mask` keeps.

  Args:
    truth: ``[B, H, W, 3]``, uint8 or float in [0, 1].
    samples: ``[B, n, H, W, 3]``.
    mask: ``[B]``, True for real images; padding is ignored.
    to_lightness: See `cinn_protocol.lightness_error`.

  Returns:
    A dictionary with the keys of `METRICS`, float64 ``[images kept]``.

  Raises:
    ValueError: if truth and samples differ in number, or for bad pictures.
  """
  truth, samples = np.asarray(truth), np.asarray(samples)
  if len(samples) != len(truth):
    raise ValueError(
      f"truth and samples must hold the same images; got {len(truth)} and"
      f" {len(samples)}."
    )
  # One image at a time, so that only n pictures are ever held in float64.
  images = [
    _one_image(truth[i : i + 1], samples[i : i + 1], to_lightness)
    for i in np.flatnonzero(splits.as_mask(mask, len(truth)))
  ]
  return {
    name: np.array([image[name].item() for image in images], np.float64)
    for name in METRICS
  }


def _one_image(truth, samples, to_lightness):
  truth = cinn_protocol.as_unit(truth, 4, "truth")
  samples = cinn_protocol.as_unit(samples, 5, "samples")
  squared = cinn_protocol.squared_error(truth, samples)
  best = cinn_protocol.best_of_n_per_image(squared)
  light_mean, light_max = cinn_protocol.lightness_error(
    truth, samples, to_lightness
  )
  return {
    "single_rmse": cinn_protocol.single_rmse(squared),
    "mean_rmse": cinn_protocol.mean_rmse(squared),
    "best_of_n_per_image": best,
    "best_of_n_per_image_pooled": best,
    "best_of_n_per_pixel": cinn_protocol.best_of_n_per_pixel(squared),
    "variance": cinn_protocol.variance(samples),
    "lightness_error_mean": light_mean,
    "lightness_error_max": light_max,
  }
