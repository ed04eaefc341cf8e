"""Scores the samples of one model of `pair_comparison.py`."""

import contextlib
import fcntl
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pair_models
import pair_pictures
from pair_training import Trainer, divisor

from cinn_jax.bijections.base import PyTree
from cinn_jax.evaluation import bits
from cinn_jax.evaluation.by_task import fids, image_to_image, judging
from cinn_jax.evaluation.metrics import inception
from cinn_jax.images import sheets
from cinn_jax.sampling import draw, temperatures
from cinn_jax.workdir.trained import Trained

_METRICS = ("spread", "psnr", "lpips", "consistency")
# The rows of the evaluation that are kept.
_ROWS = (judging.ONE, judging.MEAN, judging.LIKELIEST, judging.BEST)
# The largest number of pictures that are scored, or sampled for, at once.
_BATCH = 20
# Pictures on a sheet, at each temperature.
_SHOWN = 4


class Scorer:
  """Scores a model on the test pictures.

  Its programs are compiled in the background, while the model is trained.

  Args:
    trainer: The model.
    test: The pictures.
  """

  def __init__(self, trainer: Trainer, test: pair_pictures.Pictures):
    self._options, self._trainer, self._test = trainer.options, trainer, test
    self._flow, self._task = trainer.flow, trainer.task
    self._size = divisor(len(test), _BATCH)
    self._judge = judging.Judge(
      Trained(
        self._options.steps,
        trainer.config.to_dict(),
        self._flow,
        self._task,
        None,
      ),
      _METRICS,
    )
    # One program after the other, since training needs a core, too.
    pool = ThreadPoolExecutor(1)
    self._later: dict[str, Future] = {
      name: pool.submit(make)
      for name, make in (
        ("sampler", self._compiled_sampler),
        ("scorer", self._compiled_scorer),
        ("metrics", self._ready_metrics),
      )
    }

  def _batch_shape(self):
    shape = (self._size, *self._test.images.shape[1:])
    return {"image": jax.ShapeDtypeStruct(shape, jnp.uint8)}

  def _compiled_sampler(self):
    sampler = draw.make_sampler(
      self._flow, self._task, num_samples=self._options.num_samples
    )

    def sample(variables, index, batch, temperature):
      rng = jax.random.fold_in(jax.random.key(0), index)
      return sampler(variables, rng, batch, temperature)

    return self._trainer.compile(
      "sampling",
      jax.jit(sample),
      self._trainer.variables,
      jax.ShapeDtypeStruct((), jnp.int32),
      self._batch_shape(),
      jax.ShapeDtypeStruct((), jnp.float32),
    )

  def _compiled_scorer(self):
    return self._trainer.compile(
      "scoring",
      jax.jit(bits.make_scorer(self._flow, self._task, seed=0)),
      self._trainer.variables,
      self._batch_shape(),
      jax.ShapeDtypeStruct((), jnp.int32),
    )

  def _ready_metrics(self):
    """Compiles the metrics by using them, in one process at a time.

    They are the same for all models, so later processes find them in the cache.
    """
    start = time.perf_counter()
    shape = (self._size, *self._test.images.shape[1:])
    batch = {"image": self._test.images[: self._size]}
    samples = np.zeros((shape[0], self._options.num_samples, *shape[1:]), "u1")
    log_prob = np.zeros(samples.shape[:2])
    self._judge.variables = jax.tree.map(
      lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
      self._trainer.variables,
    )
    with _alone(self._options.cache):
      extract = inception.make_extractor()
      extract(batch["image"])
      self._judge.rows(batch, [(samples, log_prob)] * len(self._options.scales))
    spent = time.perf_counter() - start
    self._trainer.seconds["metrics"] = round(spent, 1)
    self._options.report(f"metrics: ready after {spent:.1f} s")
    return extract

  def evaluate(self, variables: PyTree) -> tuple[dict[str, Any], np.ndarray]:
    """Measures the test pictures; returns the numbers and a sheet."""
    start = time.perf_counter()
    sampler, scorer, extract = (
      self._later[name].result() for name in ("sampler", "scorer", "metrics")
    )
    scales = self._options.scales
    self._judge.variables = variables
    rows = image_to_image.Rows(scales)
    real, references, scores = self._test.images, [], []
    firsts: list[list[np.ndarray]] = [[] for _ in scales]
    shown: dict[float, Any] = {}
    for index in range(len(real) // self._size):
      part = slice(index * self._size, (index + 1) * self._size)
      batch = {"image": real[part]}
      number = jnp.int32(index)
      scores.append(scorer(variables, batch, number))
      drawn = [
        sampler(variables, number, batch, jnp.float32(scale))
        for scale in scales
      ]
      given, *_ = drawn[0]
      outcomes = [(np.asarray(x), np.asarray(nats)) for _, x, nats in drawn]
      if not shown:
        shown = dict(zip(scales, outcomes, strict=True))
        given_shown = np.asarray(given)
      rows.add(*self._judge.rows(batch, outcomes))
      references.append(self._judge.reference(batch))
      for parts, (samples, _) in zip(firsts, outcomes, strict=True):
        parts.append(samples[:, 0])
    sets = {
      rows.name(judging.ONE, scale): np.concatenate(parts)
      for scale, parts in zip(scales, firsts, strict=True)
    }
    sets |= {judging.NO_MODEL: np.concatenate(references), judging.OTHER: real}
    order = np.random.default_rng(0).permutation(len(real))
    distances, _ = fids.distances(real, sets, order, extract)
    likelihood = bits.summarize(
      [
        (values, np.ones(self._size, bool)) for values in jax.device_get(scores)
      ],
      self._task,
      interval=True,
    )
    table = rows.summary(distances, self._options.num_samples, 0)
    numbers = {
      "likelihood": {"of": self._task.description, **likelihood},
      "rows": {
        name: _numbers(row)
        for name, row in table.items()
        if name.partition(",")[0] in (*_ROWS, judging.NO_MODEL)
      },
      "real_halves_fid": distances[judging.OTHER]["fid_halves"][0]
      if judging.OTHER in distances
      else None,
      "pictures": len(real),
    }
    self._trainer.seconds["evaluation"] = round(time.perf_counter() - start, 1)
    return numbers, self._sheet(given_shown, shown)

  def _sheet(self, given, shown):
    rows, names = [], []
    for scale, (samples, log_prob) in shown.items():
      best, _ = draw.rank(samples, log_prob)
      for k in range(min(_SHOWN, len(samples))):
        rows.append([given[k], self._test.images[k], *np.asarray(best[k])])
        names.append(f"temperature {temperatures.name(scale)}")
    count = self._options.num_samples
    titles = [self._task.condition_name, "truth"]
    titles += [f"sample {k + 1}" for k in range(count)]
    return sheets.contact_sheet(
      rows,
      titles,
      names,
      cell=pair_models.SIZE,
      note="samples in order of likelihood",
    )


def _numbers(row):
  """Returns `{metric: [value, low, high]}`; [value] if there is no interval."""
  return {
    name: [value, *(row.intervals or {}).get(name, ())]
    for name, (value, _) in row.metrics.items()
  }


@contextlib.contextmanager
def _alone(folder):
  """Keeps other processes with the same cache waiting."""
  if not folder:
    yield
    return
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(folder, "metrics.lock"), "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
