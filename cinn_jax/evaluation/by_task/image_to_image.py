"""What samples of image-to-image tasks are worth, beside reference rows."""

import numpy as np

from cinn_jax.evaluation.by_task import judging
from cinn_jax.evaluation.by_task.fids import FIDS, fids
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.evaluation.metrics.splits import Accumulator
from cinn_jax.evaluation.tables import table
from cinn_jax.sampling.over_split import draw_over_split

METRICS = {
  "psnr": table.Metric(
    *("PSNR", "dB"),
    "10 log10(255^2 / MSE) per image, RGB, no border cut; of equal pictures"
    f" {m.EXACT:g}",
  ),
  "rmse": table.Metric(
    *("RMSE", "0-255"), "root of the mean squared error per image, RGB"
  ),
  "ssim": table.Metric(
    *("SSIM", "1"),
    "Gaussian window of 11x11, sigma 1.5, population covariance, per channel",
  ),
  "lpips": table.Metric(
    *("LPIPS", "1"),
    "version 0.1, AlexNet, of pictures in [-1, 1] with the reference's shift"
    " and scale",
  ),
  "lpips_vgg16": table.Metric(
    *("LPIPS by VGG16", "1"), "as LPIPS, of another network's features"
  ),
  "consistency": table.Metric(
    *("consistency", "dB"),
    f"how well what was given comes back; to the last bit counts {m.EXACT:g}",
  ),
  "pixel_std": table.Metric(
    *("pixel std", "0-255"),
    "deviation over the n samples (divisor n - 1), mean over pixels",
  ),
  "pairwise_lpips": table.Metric(
    *("LPIPS of pairs", "1"), "mean over all pairs of the n samples"
  ),
  "ntire_diversity": table.Metric(
    *("NTIRE21 diversity", "%"),
    "how much less the LPIPS map of the best sample per pixel is than that of"
    " the best sample",
  ),
  **{
    judging.coverage_name(level): table.Metric(
      *(f"coverage of {level:.0%}", "%"),
      f"how often the n samples' central {level:.0%} interval holds the truth:"
      " means of 4x4 regions per channel, by rank",
    )
    for level in judging.LEVELS
  },
  **FIDS,
}
_LEGEND = (
  f"Rows: '{judging.LIKELIEST}' is chosen by the model without the truth,"
  f" '{judging.BEST}' by RMSE with it; '{judging.NO_MODEL}' is what is given,"
  f" enlarged, as it is, or its hole filled with the mean; '{judging.OTHER}' of"
  " the split stands for an answer that has nothing to do with what was given."
)


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of samples; see `evaluation.evaluate` for what is returned.

  Rows of one picture per image: the first sample, the likeliest, the one of the
  least error, the samples' average; reference rows: the task's answer without a
  model, what the condition network guesses by itself where it does (a method
  `predict(cond) -> x`), and another real picture of the split.
  The row of the mean over samples has their diversity and coverage too. LPIPS
  and FID come where their weights are installed; else a line says how to get
  them.
  """
  del workdir  # Nothing is written beside the table.
  judge = judging.Judge(trained)
  rows, kept = {}, []
  for batch, _, samples, log_prob in draw_over_split(
    trained,
    source,
    num_samples=num_samples,
    temperature=temperature,
    seed=seed,
  ):
    for name, values in judge.rows(batch, samples, log_prob).items():
      names = dict.fromkeys(values, "mean")
      rows.setdefault(name, Accumulator(names)).add(values)
    kept.append((batch["image"], samples[:, 0], judge.reference(batch)))
  real, first, reference = map(_joined, zip(*kept, strict=True))
  order = np.random.default_rng(seed).permutation(len(real))
  if len(real) > 1:
    others = np.empty_like(real)
    others[order] = real[np.roll(order, 1)]
    values = judge.pair(real, others)
    rows[judging.OTHER] = Accumulator(dict.fromkeys(values, "mean"))
    rows[judging.OTHER].add(values)
  sets = {
    judging.ONE: first,
    judging.NO_MODEL: reference,
    judging.OTHER: real,
  }
  distances, lines = fids(real, sets, order)
  results = {
    name: _row(name, row, distances.get(name, {}), num_samples, seed)
    for name, row in rows.items()
  }
  title = trained.task.consistency_name
  metrics = METRICS | {
    "consistency": METRICS["consistency"]._replace(title=title)
  }
  return results, metrics, [_LEGEND, *judge.lines(num_samples), *lines]


def _row(name, row, distances, num_samples, seed):
  counts = dict.fromkeys((judging.ONE, judging.OTHER, judging.NO_MODEL), 1)
  counts[judging.REGRESSION] = 1
  values = {k: (value, None) for k, (value, _) in row.summary(seed).items()}
  return table.Row(
    values | {k: (value, None) for k, value in distances.items()},
    "reference" if name in judging.REFERENCES else "ours",
    images=row.count,
    samples=counts.get(name, num_samples),
    intervals=row.intervals(seed),
  )


def _joined(parts):
  return None if parts[0] is None else np.concatenate(parts)
