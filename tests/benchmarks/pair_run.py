"""Trains and measures one model of `pair_comparison.py`."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pair_models
import pair_pictures
from ml_collections import ConfigDict

from cinn_jax.evaluation import bits
from cinn_jax.evaluation.by_task import fids, image_to_image, judging
from cinn_jax.evaluation.metrics import inception
from cinn_jax.experiment.build import build
from cinn_jax.images import sheets
from cinn_jax.runtime import sharding
from cinn_jax.sampling import draw, temperatures
from cinn_jax.training import phases, setup
from cinn_jax.training.encoder_pretraining import pretrain_encoder
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import State, init_state
from cinn_jax.workdir.trained import Trained

_METRICS = ("spread", "psnr", "lpips", "consistency")
# The rows of the evaluation that are kept.
_ROWS = (judging.ONE, judging.MEAN, judging.LIKELIEST, judging.BEST)
# The largest number of pictures that are scored, or sampled for, at once.
_BATCH = 20
# Pictures on a sheet, at each temperature.
_SHOWN = 4
_CHUNK = 50


class Options(NamedTuple):
  """Settings that all runs share.

  Attributes:
    steps, batch_size: Length and batch size of training.
    scales: Temperatures.
    num_samples: Samples per picture and temperature.
    cache: Folder of compiled programs, or empty.
    report: Called with lines of progress.
  """

  steps: int
  batch_size: int
  scales: Sequence[float]
  num_samples: int
  cache: str
  report: Callable[[str], None]


class Model:
  """One model with its compiled programs, for runs with any seed.

  Programs that training does not need are compiled during training.

  Args:
    task, model: Names in `pair_models`.
    train, test: The pictures.
    options: The settings.
  """

  def __init__(
    self,
    task: str,
    model: str,
    train: pair_pictures.Pictures,
    test: pair_pictures.Pictures,
    options: Options,
  ):
    self._options, self._train, self._test = options, train, test
    self.config: ConfigDict = pair_models.make_config(
      task, model, steps=options.steps, batch_size=options.batch_size
    )
    self.flow, self.task = build(self.config)
    self.parameters = pair_models.count_parameters(self.flow, self.task)
    self._optimizer = make_optimizer(
      num_steps=options.steps, **phases.optimizer_options(self.config)
    )
    self._abstract = jax.eval_shape(
      lambda: init_state(
        jax.random.key(0),
        self.flow,
        self.task,
        self._optimizer,
        averaged=False,
      )
    )
    self.seconds: dict[str, float] = {}
    self._size = _divisor(len(test), _BATCH)
    self._length = _divisor(options.steps, _CHUNK)
    self._pictures = jnp.asarray(train.images)
    # One thread, so that tracing for training comes first.
    self._pool = ThreadPoolExecutor(1)
    self._init = jax.jit(
      lambda rng, batch: init_state(
        rng,
        self.flow,
        self.task,
        self._optimizer,
        batch,
        averaged=False,
        batch_size=options.batch_size,
      )
    )
    self._training = self._compiled_training()
    self._judge = judging.Judge(self._trained(None), _METRICS)
    self._later: dict[str, Future] = {
      name: self._pool.submit(make)
      for name, make in (
        ("sampler", self._compiled_sampler),
        ("scorer", self._compiled_scorer),
        ("metrics", self._ready_metrics),
      )
    }

  def _compile(self, name, jitted, *shapes):
    start, processor = time.perf_counter(), time.process_time()
    lowered = jitted.lower(*shapes)
    traced = time.perf_counter()
    program = lowered.compile()
    end = time.perf_counter()
    self.seconds[f"lowering of {name}"] = round(traced - start, 1)
    self.seconds[f"compilation of {name}"] = round(end - traced, 1)
    self._options.report(
      f"{name}: lowered in {traced - start:.1f} s, compiled in"
      f" {end - traced:.1f} s (processor {time.process_time() - processor:.1f})"
    )
    return program

  def _compiled_training(self):
    def chunk(state, seed, pictures, order):
      step = make_train_step(
        self.flow, self.task, self._optimizer, seed=seed, ema_decay=0.0
      )
      return jax.lax.scan(
        lambda state, rows: step(state, {"image": pictures[rows]}), state, order
      )

    return self._compile(
      "training",
      jax.jit(chunk, donate_argnums=0),
      _shapes(self._abstract),
      jax.ShapeDtypeStruct((), jnp.uint32),
      _shapes(self._pictures),
      jax.ShapeDtypeStruct((self._length, self._options.batch_size), jnp.int32),
    )

  def _batch_shape(self):
    shape = (self._size, *self._test.images.shape[1:])
    return {"image": jax.ShapeDtypeStruct(shape, jnp.uint8)}

  def _compiled_sampler(self):
    sampler = draw.make_sampler(
      self.flow, self.task, num_samples=self._options.num_samples
    )

    def sample(variables, index, batch, temperature):
      rng = jax.random.fold_in(jax.random.key(0), index)
      return sampler(variables, rng, batch, temperature)

    return self._compile(
      "sampling",
      jax.jit(sample),
      _shapes(self._abstract.fit.variables),
      jax.ShapeDtypeStruct((), jnp.int32),
      self._batch_shape(),
      jax.ShapeDtypeStruct((), jnp.float32),
    )

  def _compiled_scorer(self):
    return self._compile(
      "scoring",
      jax.jit(bits.make_scorer(self.flow, self.task, seed=0)),
      _shapes(self._abstract.fit.variables),
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
      self._abstract.fit.variables,
    )
    with _alone(self._options.cache):
      extract = inception.make_extractor()
      extract(batch["image"])
      self._judge.rows(batch, [(samples, log_prob)] * len(self._options.scales))
    spent = time.perf_counter() - start
    self.seconds["metrics"] = round(spent, 1)
    self._options.report(f"metrics: ready after {spent:.1f} s")
    return extract

  def _trained(self, variables):
    config = self.config.to_dict()
    return Trained(self._options.steps, config, self.flow, self.task, variables)

  def train(self, seed: int) -> tuple[State, dict[str, np.ndarray]]:
    """Trains from the start; returns the state and each step's numbers."""
    options = self._options
    start = time.perf_counter()
    order = pair_pictures.batches(
      len(self._train), options.steps, options.batch_size, seed
    )
    state = self._start(seed, order)
    length, parts = self._length, []
    for first in range(0, options.steps, length):
      rows = order[first : first + length]
      state, metrics = self._training(
        state, jnp.uint32(seed), self._pictures, jnp.asarray(rows, jnp.int32)
      )
      parts.append(jax.device_get(metrics))
      if (first // length) % 4 == 3 or first + length >= options.steps:
        options.report(
          f"step {first + len(rows)}: bits/dim"
          f" {parts[-1]['bits_per_dim'].mean() + 8:.3f},"
          f" {time.perf_counter() - start:.1f} s"
        )
    self.seconds["training"] = round(time.perf_counter() - start, 1)
    return state, {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }

  def _start(self, seed, order):
    """Returns the state at step 0, with its encoder trained if it has one."""
    state = self._init(jax.random.key(seed), {"image": self._images_of(order)})
    if "pretrain" in self.config and "steps" in self.config.pretrain:
      self.config.train.seed = seed
      abstract = setup.abstract_state(
        self.config,
        sharding.make_mesh(),
        self.flow,
        self.task,
        self._optimizer,
      )
      state = pretrain_encoder(
        state,
        config=self.config,
        flow=self.flow,
        task=self.task,
        source=self._train,
        shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract),
        alive=lambda: None,
      )
    return jax.device_put(state, jax.devices()[0])

  def _images_of(self, order):
    """Returns the pictures from which ActNorms start."""
    count = min(setup.init_batch_size(self.config), order.size)
    return self._train.images[order.reshape(-1)[:count]]

  def evaluate(self, variables: Any) -> tuple[dict[str, Any], np.ndarray]:
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
      self.task,
      interval=True,
    )
    table = rows.summary(distances, self._options.num_samples, 0)
    numbers = {
      "likelihood": {"of": self.task.description, **likelihood},
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
    self.seconds["evaluation"] = round(time.perf_counter() - start, 1)
    return numbers, self._sheet(given_shown, shown)

  def _sheet(self, given, shown):
    rows, names = [], []
    for scale, (samples, log_prob) in shown.items():
      best, _ = draw.rank(samples, log_prob)
      for k in range(min(_SHOWN, len(samples))):
        rows.append([given[k], self._test.images[k], *np.asarray(best[k])])
        names.append(f"temperature {temperatures.name(scale)}")
    count = self._options.num_samples
    titles = [self.task.condition_name, "truth"]
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


def _shapes(tree):
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree
  )


def _divisor(count, most):
  """Returns the largest divisor of `count` up to `most`."""
  return max(n for n in range(1, most + 1) if count % n == 0)


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
