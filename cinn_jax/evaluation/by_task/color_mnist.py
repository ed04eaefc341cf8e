"""Quality of coloured digits, compared with grey ones and the truth."""

import pathlib

import numpy as np
from skimage.color import rgb2hsv

from cinn_jax.data.base import Source
from cinn_jax.data.color_mnist import CLUSTERS, PAIRS
from cinn_jax.evaluation.by_task import colorize
from cinn_jax.evaluation.metrics.cinn_protocol import PERCENT
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling import temperatures as labels
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.workdir.trained import Trained

# The metrics that this task shares with every colorization.
_FROM_COLORIZE = (
  "single_rmse",
  "best_of_n_per_image",
  "best_of_n_per_pixel",
  "variance",
)
_PROTOCOL = (
  "share of pictures whose mean hue {where} (an angle, weighted by chroma) is"
  " nearest to the cluster of their digit; clusters overlap, so the truth's own"
  " share is the highest to expect"
)
METRICS = {
  **{name: colorize.METRICS[name] for name in _FROM_COLORIZE},
  "foreground": table.Metric(
    "hue of its digit", "%", _PROTOCOL.format(where="on the digit")
  ),
  "background": table.Metric(
    "hue of its ground", "%", _PROTOCOL.format(where="around the digit")
  ),
}


def evaluate(
  trained: Trained, source: Source, workdir: pathlib.Path, sampling: Sampling
) -> table.Evaluation:
  """Evaluates coloured digits.

  The flow sees only the grey digit. If samples have the hues of their digit,
  information about its class has reached the flow. The reference rows are the
  grey digit in place of a sample, and the truth.
  """
  del workdir  # This task writes no file.
  of_samples = [
    labels.label("samples", temperature, sampling.temperatures)
    for temperature in sampling.temperatures
  ]
  names = (*of_samples, trained.task.condition_name, "truth")
  rows = {
    name: Accumulator({k: m.reduction for k, m in METRICS.items()})
    for name in names
  }
  for batch, given, outcomes in draw_over_split(trained, source, sampling):
    truth = batch["image"]
    drawn = (samples for samples, _ in outcomes)
    columns = (*drawn, given[:, None], truth[:, None])
    for name, pictures in zip(names, columns, strict=True):
      rows[name].add(
        per_example(truth, pictures, batch["grey"][..., 0], batch["label"])
      )
  counts = dict.fromkeys(names, 1)
  counts |= dict.fromkeys(of_samples, sampling.num_samples)
  return (
    {
      name: table.Row(
        metrics=row.summary(),
        mark="ours" if name in of_samples else "reference",
        images=row.count,
        samples=counts[name],
        intervals=row.intervals(),
      )
      for name, row in rows.items()
    },
    METRICS,
    [],
  )


def per_example(
  truth: np.ndarray, pictures: np.ndarray, grey: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns every value of `METRICS`, each [B].

  Args:
    truth: uint8 [B, S, S, 3].
    pictures: uint8 [B, n, S, S, 3].
    grey: uint8 [B, S, S]; its brightness separates the digit from the ground.
    labels: int [B].
  """
  errors = colorize.per_example(truth, pictures)
  values = {name: errors[name] for name in _FROM_COLORIZE}
  # Edges belong to neither, because both colours mix there.
  on_digit, on_ground = grey[:, None] >= 192, grey[:, None] < 64
  expected = np.asarray(PAIRS)[labels]
  for name, where, clusters in zip(
    ("foreground", "background"),
    (on_digit, on_ground),
    expected.T,
    strict=True,
  ):
    hits = nearest_cluster(pictures, where) == clusters[:, None]
    values[name] = PERCENT * hits.mean(axis=1)
  return values


def nearest_cluster(pictures: np.ndarray, where: np.ndarray) -> np.ndarray:
  """Returns the hue cluster that is nearest to the mean hue of some pixels.

  Args:
    pictures: uint8 [..., S, S, 3].
    where: bool [..., S, S], True for the pixels that count.

  Returns:
    The number of the cluster, int [...]; -1 if no pixel that counts has a hue.
  """
  hue, saturation, value = np.moveaxis(rgb2hsv(pictures), -1, 0)
  chroma = np.where(where, saturation * value, 0)
  mean = np.sum(chroma * np.exp(2j * np.pi * hue), axis=(-2, -1))
  centres = np.exp(1j * np.deg2rad([mean for mean, _ in CLUSTERS]))
  nearest = np.argmax(np.real(mean[..., None] * centres.conj()), axis=-1)
  return np.where(np.abs(mean) > 0, nearest, -1)
