"""What pictures drawn from nothing, or for a class, are worth."""

import numpy as np

from cinn_jax.evaluation.by_task.fids import FIDS, fids
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling.over_split import draw_over_split

_ALL = "all numbers of all pictures at once"
METRICS = {
  "brightness": table.Metric(
    *("mean", "0-255"), "how bright the pictures are", _ALL
  ),
  "contrast": table.Metric(
    *("deviation", "0-255"), "of the numbers about that mean", _ALL
  ),
  "clipped": table.Metric(
    *("clipped", "%"),
    "numbers at 0 or 255: what samples have of them beyond what pictures have"
    " shows an inverse that explodes",
    _ALL,
  ),
  "fid_halves": FIDS["fid_halves"],
}


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of drawn pictures; see `evaluation.evaluate` for what is returned.

  No picture is the answer that a sample should have been, so what counts is
  bits/dim, and how alike the sets are: rough statistics and, where its weights
  are installed, the FID of one sample for each picture. Reference row: the
  pictures themselves.
  """
  del workdir  # Nothing is written beside the table.
  kept = [
    (batch["image"], samples)
    for batch, _, samples, _ in draw_over_split(
      trained,
      source,
      num_samples=num_samples,
      temperature=temperature,
      seed=seed,
    )
  ]
  real, samples = map(np.concatenate, zip(*kept, strict=True))
  order = np.random.default_rng(seed).permutation(len(real))
  distances, lines = fids(
    real, {"samples": samples[:, 0], "pictures": real}, order
  )
  rows = {
    name: table.Row(
      {
        **statistics(pictures),
        **{
          metric: (value, None)
          for metric, value in distances.get(name, {}).items()
          if metric in METRICS
        },
      },
      *(mark, len(real), count),
    )
    for name, pictures, mark, count in (
      ("samples", samples, "ours", num_samples),
      ("pictures", real, "reference", 1),
    )
  }
  return rows, METRICS, lines


def statistics(pictures):
  """Rough ones of uint8 pictures, as of `METRICS`: `{name: (value, None)}`."""
  # Wider copies of a whole split would be many times its size.
  counts = sum(np.bincount(one.ravel(), minlength=256) for one in pictures)
  shares, levels = counts / counts.sum(), np.arange(256)
  mean = shares @ levels
  return {
    "brightness": (float(mean), None),
    "contrast": (float(np.sqrt(shares @ (levels - mean) ** 2)), None),
    "clipped": (float(100 * (shares[0] + shares[255])), None),
  }
