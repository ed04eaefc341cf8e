"""What coloured digits are worth, beside grey ones and the truth."""

import numpy as np
from skimage.color import rgb2hsv

from cinn_jax.data.color_mnist import CLUSTERS, PAIRS
from cinn_jax.evaluation.by_task import colorize
from cinn_jax.evaluation.metrics.cinn_protocol import PERCENT
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling.over_split import draw_over_split

_SHARED = (
  *("single_rmse", "best_of_n_per_image", "best_of_n_per_pixel"),
  "variance",
)
_PROTOCOL = (
  "share of pictures whose mean hue {where} (an angle, weighted by chroma) is"
  " nearest to the cluster of their digit; clusters overlap, so the truth's own"
  " share is the most to expect"
)
METRICS = {
  **{name: colorize.METRICS[name] for name in _SHARED},
  "foreground": table.Metric(
    *("hue of its digit", "%"), _PROTOCOL.format(where="on the digit")
  ),
  "background": table.Metric(
    *("hue of its ground", "%"), _PROTOCOL.format(where="beside the digit")
  ),
}


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of coloured digits; see `evaluation.evaluate` for what is returned.

  Whether hues are those of the digit tells whether its class reached the flow,
  which is given the grey digit alone. Reference rows: the grey digit in place
  of a sample, and the truth.
  """
  del workdir  # Nothing is written beside the table.
  names = ("samples", trained.task.condition_name, "truth")
  rows = {
    name: Accumulator({k: m.reduction for k, m in METRICS.items()})
    for name in names
  }
  for batch, given, samples, _ in draw_over_split(
    trained,
    source,
    num_samples=num_samples,
    temperature=temperature,
    seed=seed,
  ):
    truth = batch["image"]
    shown = (samples, given[:, None], truth[:, None])
    for name, pictures in zip(names, shown, strict=True):
      rows[name].add(
        per_example(truth, pictures, batch["grey"][..., 0], batch["label"])
      )
  counts = dict.fromkeys(names, 1) | {"samples": num_samples}
  return (
    {
      name: table.Row(
        row.summary(),
        "ours" if name == "samples" else "reference",
        *(row.count, counts[name]),
        row.intervals(),
      )
      for name, row in rows.items()
    },
    METRICS,
    [],
  )


def per_example(truth, pictures, grey, labels):
  """Every value of `METRICS`, each [B].

  Args:
    truth: uint8 [B, S, S, 3].
    pictures: uint8 [B, n, S, S, 3].
    grey: uint8 [B, S, S], what tells digit from ground.
    labels: int [B].
  """
  errors = colorize.per_example(truth, pictures)
  values = {name: errors[name] for name in _SHARED}
  # Not the edges, where both colours mix.
  inside, outside = grey[:, None] >= 192, grey[:, None] < 64
  wanted = np.asarray(PAIRS)[labels]
  for name, where, clusters in zip(
    ("foreground", "background"), (inside, outside), wanted.T, strict=True
  ):
    hits = nearest_cluster(pictures, where) == clusters[:, None]
    values[name] = PERCENT * hits.mean(axis=1)
  return values


def nearest_cluster(pictures, where):
  """The number of the hue cluster nearest to the mean hue of some pixels.

  Args:
    pictures: uint8 [..., S, S, 3].
    where: bool [..., S, S], which pixels count.

  Returns:
    int [...]; -1 where no pixel that counts has a hue.
  """
  hue, saturation, value = np.moveaxis(rgb2hsv(pictures), -1, 0)
  chroma = np.where(where, saturation * value, 0)
  mean = np.sum(chroma * np.exp(2j * np.pi * hue), axis=(-2, -1))
  centres = np.exp(1j * np.deg2rad([mean for mean, _ in CLUSTERS]))
  nearest = np.argmax(np.real(mean[..., None] * centres.conj()), axis=-1)
  return np.where(np.abs(mean) > 0, nearest, -1)
