"""Scores of samples for `claims.py` and `ablations.py`."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from claim_training import Trained, Trainer

from cinn_jax import likelihood
from cinn_jax.evaluation import bits, comparator_scores, importance
from cinn_jax.evaluation.by_task import judging
from cinn_jax.evaluation.metrics import inception, lpips, restoration
from cinn_jax.evaluation.metrics.kid import kernel_distance
from cinn_jax.images import color, sheets
from cinn_jax.sampling import draw
from cinn_jax.tasks import Task
from cinn_jax.workdir import trained as workdir_trained

# A coverage of 90 % needs 19 samples; errors use the first eight.
SAMPLES, FEW = 20, 8
# Draws of a VAE's code for its bound.
DRAWS = 64
# Samples count as equal if their root mean square difference is smaller, in
# 8-bit levels; a smaller deviation means that answers ignore the noise.
SAME = 0.5
_BATCH = 16
_METRICS = ("spread", "psnr", "lpips")


def batches(records: dict[str, np.ndarray]):
  """Yields (batch, count): parts of equal size, with the last one padded."""
  total = len(records["image"])
  for first in range(0, total, _BATCH):
    rows = np.minimum(np.arange(first, first + _BATCH), total - 1)
    part = {name: values[rows] for name, values in records.items()}
    yield part, min(_BATCH, total - first)


class Sampler:
  """The compiled sampler of a trainer's model."""

  def __init__(self, trainer: Trainer, count: int = SAMPLES):
    self._sample = jax.jit(
      draw.make_sampler(trainer.flow, trainer.task, num_samples=count)
    )

  def __call__(
    self, variables: Any, records: dict[str, np.ndarray], scale: Any = 1.0
  ) -> np.ndarray:
    """Returns samples uint8 [N, n, S, S, 3]."""
    parts = []
    for k, (batch, kept) in enumerate(batches(records)):
      rng = jax.random.fold_in(jax.random.key(0), k)
      _, samples, _ = self._sample(
        variables, rng, batch, jnp.asarray(scale, jnp.float32)
      )
      parts.append(np.asarray(samples)[:kept])
    return np.concatenate(parts)


def energy_score(truth: np.ndarray, samples: np.ndarray) -> float:
  """Returns the mean energy score, in 8-bit levels; lower is better.

  E|X - y| - E|X - X'| / 2, with |.| the root mean squared difference of
  pictures (Gneiting and Raftery 2007). Its mean is lowest for samples from the
  true distribution.

  Args:
    truth: uint8 [N, ...].
    samples: uint8 [N, n, ...].
  """
  n = samples.shape[1]
  flat = samples.reshape(*samples.shape[:2], -1).astype(np.float32)
  target = truth.reshape(len(truth), 1, -1).astype(np.float32)
  error = np.sqrt(np.mean((flat - target) ** 2, axis=-1)).mean(axis=1)
  between = [
    np.sqrt(np.mean((flat[:, i] - flat[:, j]) ** 2, axis=-1))
    for i in range(n)
    for j in range(i)
  ]
  return float(np.mean(error - 0.5 * np.mean(between, axis=0)))


def distinct_share(samples: np.ndarray) -> float:
  """Returns the share of samples that differ from all earlier ones, in percent.

  Args:
    samples: uint8 [N, n, ...].
  """
  flat = samples.reshape(*samples.shape[:2], -1).astype(np.float32)
  shares = []
  for own in flat:
    kept: list[np.ndarray] = []
    for one in own:
      if all(np.sqrt(np.mean((one - k) ** 2)) >= SAME for k in kept):
        kept.append(one)
    shares.append(len(kept) / len(own))
  return 100 * float(np.mean(shares))


def bits_per_dim(
  trainer: Trainer,
  variables: Any,
  records: dict[str, np.ndarray],
  task: Task | None = None,
) -> float | None:
  """Returns bits/dim in the data's units, for a VAE by its bound; or None.

  None is also for a picture without a finite density: a finished run keeps its
  other numbers.

  Args:
    trainer: The trainer of the model.
    variables: Its variables.
    records: Pictures.
    task: Replaces the trainer's task, for data with other noise.
  """
  flow, task = trainer.flow, task or trainer.task
  if flow.objective is None:
    score = jax.jit(bits.make_scorer(flow, task, 0))
    nats = [
      np.asarray(values["prior"] + values["log_det"], np.float64)[:kept]
      for k, (batch, kept) in enumerate(batches(records))
      for values in [score(variables, batch, k)]
    ]
  elif flow.objective.bound is not None:
    bound = jax.jit(importance.make_bound(flow, task, DRAWS, 0))
    nats = [
      np.asarray(bound(variables, batch, k), np.float64)[:kept]
      for k, (batch, kept) in enumerate(batches(records))
    ]
  else:
    return None
  dims = math.prod(task.event_shape)
  per_dim = likelihood.bits_per_dim(np.concatenate(nats).mean(), dims)
  value = float(likelihood.rescale_bits_per_dim(per_dim, task.scales))
  return value if math.isfinite(value) else None


def criterion(
  trainer: Trainer, kind: str, variables: Any, records: dict[str, np.ndarray]
) -> float:
  """Returns the number by which a method's rate is chosen; lower is better.

  It is bits/dim in the data's units for flows, one draw of its bound for VAEs,
  the error for regressions, and the energy score of eight samples for GANs.
  """
  if kind == "gan":
    samples = Sampler(trainer, FEW)(variables, records)
    return energy_score(records["image"], samples)
  if kind == "flow":
    value = bits_per_dim(trainer, variables, records)
    assert value is not None
    return value
  score = jax.jit(comparator_scores.make_scorer(trainer.flow, trainer.task, 0))
  values = [
    (jax.device_get(score(variables, batch, k)), np.arange(_BATCH) < kept)
    for k, (batch, kept) in enumerate(batches(records))
  ]
  summary = comparator_scores.summarize(values, trainer.task)
  if kind == "regression":
    return summary["error"]
  return summary["bits_per_dim_of_unscaled_data"]


def of_photographs(
  trainer: Trainer,
  trained: Trained,
  records: dict[str, np.ndarray],
  scale: Any = 1.0,
) -> tuple[dict[str, float], np.ndarray]:
  """Returns scores of samples for test photographs, and a sheet."""
  samples = Sampler(trainer)(trained.variables, records, scale)
  truth = records["image"]
  judge = judging.Judge(
    workdir_trained.Trained(
      0, {}, trainer.flow, trainer.task, trained.variables
    ),
    _METRICS,
  )
  parts = []
  for first in range(0, len(truth), _BATCH):
    part = slice(first, first + _BATCH)
    few = samples[part, :FEW]
    batch = {name: values[part] for name, values in records.items()}
    nothing = np.zeros(few.shape[:2])
    rows, _ = judge.rows(batch, [(few, nothing)])
    parts.append(rows[0])

  def mean(row, metric):
    if metric not in parts[0][row]:
      return None
    return float(np.mean(np.concatenate([p[row][metric] for p in parts])))

  without = restoration.rmse(truth, without_a_model(trainer, records))
  measures = {
    "rmse_of_one": mean(judging.ONE, "rmse"),
    "rmse_of_best": mean(judging.BEST, "rmse"),
    "rmse_of_mean": mean(judging.AVERAGE, "rmse"),
    "rmse_without_model": float(without.mean()),
    "lpips": mean(judging.ONE, "lpips"),
    "lpips_of_pairs": mean(judging.MEAN, "pairwise_lpips"),
    "pixel_std": float(restoration.pixel_std(samples).mean()),
    "coverage_50": float(restoration.coverage(truth, samples, 0.5).mean()),
    "coverage_90": float(restoration.coverage(truth, samples, 0.9).mean()),
    "distinct": distinct_share(samples),
    "energy_score": energy_score(truth, samples[:, :FEW]),
    "kid": kid(truth, samples[:, 0]),
  }
  return _known(measures), sheet(trainer, records, samples)


def without_a_model(
  trainer: Trainer, records: dict[str, np.ndarray]
) -> np.ndarray:
  """Returns the answer without a model: the given picture, uint8."""
  task = trainer.task
  answer = task.reference or task.condition_picture
  picture = jax.jit(
    lambda batch: color.to_uint8(answer(task.prepare(batch)[1]))
  )
  return np.concatenate(
    [np.asarray(picture(batch))[:kept] for batch, kept in batches(records)]
  )


def missing() -> str | None:
  """Returns which weights of metrics are missing, if any: before hours of work.

  Rows without them would count as done.
  """
  try:
    inception.load()
    lpips.weights_path("alexnet")
  except FileNotFoundError as error:
    return str(error)
  return None


def kid(real: np.ndarray, pictures: np.ndarray) -> float:
  """Returns the KID of pictures, in thousandths."""
  extract = _extractor()
  return 1e3 * kernel_distance(extract(pictures), extract(real))[0]


@functools.cache
def _extractor() -> Callable[[np.ndarray], np.ndarray]:
  return inception.make_extractor()


def sheet(
  trainer: Trainer, records: dict[str, np.ndarray], samples: np.ndarray
) -> np.ndarray:
  """Returns a sheet of eight pictures: given, truth and eight samples each."""
  shown = np.arange(8) * len(samples) // 8
  some = {name: values[shown] for name, values in records.items()}
  given = without_a_model(trainer, some)
  rows = [
    [given[k], some["image"][k], *samples[i, :FEW]] for k, i in enumerate(shown)
  ]
  titles = [trainer.task.condition_name, "truth"]
  titles += [f"sample {k + 1}" for k in range(FEW)]
  return sheets.contact_sheet(rows, titles, note="in the order of drawing")


def _known(measures):
  return {name: value for name, value in measures.items() if value is not None}


def failure(kind: str, measures: dict[str, float]) -> str | None:
  """Returns the reason why a run has failed, or None.

  A regression has to beat the answer without a model, and a GAN's answers have
  to depend on its noise.
  """
  if (
    kind == "regression"
    and measures["rmse_of_one"] >= measures["rmse_without_model"]
  ):
    return "does not beat the answer without a model"
  if kind == "gan" and measures["pixel_std"] < SAME:
    return "answers do not depend on the noise"
  return None
