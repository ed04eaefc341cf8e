"""Quality of pictures drawn unconditionally, or for a class."""

import pathlib

import numpy as np

from cinn_jax.data.base import Source
from cinn_jax.evaluation.by_task.fids import FIDS, fids
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling import temperatures as labels
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.workdir.trained import Trained

_ALL = "all numbers of all pictures at once"
METRICS = {
  "brightness": table.Metric(
    "mean", "0-255", "brightness of the pictures", _ALL
  ),
  "contrast": table.Metric(
    "deviation", "0-255", "of the numbers about that mean", _ALL
  ),
  "clipped": table.Metric(
    "clipped",
    "%",
    "numbers at 0 or 255: if samples have more of them than pictures, the"
    " inverse explodes",
    _ALL,
  ),
  "fid_halves": FIDS["fid_halves"],
}


def evaluate(
  trained: Trained, source: Source, workdir: pathlib.Path, sampling: Sampling
) -> table.Evaluation:
  """Evaluates samples as a set.

  A sample has no true answer to compare it with. Bits/dim counts, and the
  similarity of the sets: rough statistics and, if the weights are installed,
  the FID of one sample for each picture. The reference row is the pictures
  themselves.
  """
  del workdir  # This task writes no file.
  parts = [
    (batch["image"], *(samples for samples, _ in outcomes))
    for batch, _, outcomes in draw_over_split(trained, source, sampling)
  ]
  real, *drawn = map(np.concatenate, zip(*parts, strict=True))
  order = np.random.default_rng(sampling.seed).permutation(len(real))
  names = [
    labels.label("samples", temperature, sampling.temperatures)
    for temperature in sampling.temperatures
  ]
  sets = dict(zip(names, drawn, strict=True))
  firsts = {name: samples[:, 0] for name, samples in sets.items()}
  distances, notes = fids(real, {**firsts, "pictures": real}, order)
  rows = {
    name: table.Row(
      metrics={
        **statistics(pictures),
        **{
          metric: (value, None)
          for metric, (value, _) in distances.get(name, {}).items()
          if metric in METRICS
        },
      },
      mark=mark,
      images=len(real),
      samples=count,
    )
    for name, pictures, mark, count in (
      *((n, s, "ours", sampling.num_samples) for n, s in sets.items()),
      ("pictures", real, "reference", 1),
    )
  }
  return rows, METRICS, notes


def statistics(pictures: np.ndarray) -> dict[str, tuple[float, None]]:
  """Returns rough statistics of uint8 pictures: `{metric: (value, None)}`."""
  # Counting avoids a float copy of the whole split, many times its size.
  counts = np.zeros(256, int)
  for one in pictures:
    counts += np.bincount(one.ravel(), minlength=256)
  shares, levels = counts / counts.sum(), np.arange(256)
  mean = shares @ levels
  return {
    "brightness": (float(mean), None),
    "contrast": (float(np.sqrt(shares @ (levels - mean) ** 2)), None),
    "clipped": (float(100 * (shares[0] + shares[255])), None),
  }
