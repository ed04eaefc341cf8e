"""Trains one model of `pair_comparison.py`."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pair_models
import pair_pictures
from ml_collections import ConfigDict

from cinn_jax.bijections.base import PyTree
from cinn_jax.experiment.build import build
from cinn_jax.runtime import sharding
from cinn_jax.training import phases, setup
from cinn_jax.training.encoder_pretraining import pretrain_encoder
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import State, init_state

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


class Trainer:
  """One model with its compiled training, for runs with any seed.

  Args:
    task, model: Names in `pair_models`.
    train: The pictures.
    options: The settings.

  Attributes:
    config, flow, task, options: What is trained, and how.
    parameters: The number of parameters.
    variables: Shapes of the variables.
    seconds: Of each part of the run, by name.
  """

  def __init__(
    self,
    task: str,
    model: str,
    train: pair_pictures.Pictures,
    options: Options,
  ):
    self.options, self._train = options, train
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
    self.variables: PyTree = shapes(self._abstract.fit.variables)
    self.seconds: dict[str, float] = {}
    self._length = divisor(options.steps, _CHUNK)
    self._pictures = jnp.asarray(train.images)
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

  def compile(self, name: str, jitted: Any, *arguments: PyTree) -> Any:
    """Returns the compiled program; notes and reports the seconds."""
    start, processor = time.perf_counter(), time.process_time()
    lowered = jitted.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    end = time.perf_counter()
    self.seconds[f"lowering of {name}"] = round(traced - start, 1)
    self.seconds[f"compilation of {name}"] = round(end - traced, 1)
    self.options.report(
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

    return self.compile(
      "training",
      jax.jit(chunk, donate_argnums=0),
      shapes(self._abstract),
      jax.ShapeDtypeStruct((), jnp.uint32),
      shapes(self._pictures),
      jax.ShapeDtypeStruct((self._length, self.options.batch_size), jnp.int32),
    )

  def train(self, seed: int) -> tuple[State, dict[str, np.ndarray]]:
    """Trains from the start; returns the state and each step's numbers."""
    options = self.options
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


def shapes(tree: PyTree) -> PyTree:
  """Returns the shapes and dtypes of arrays."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree
  )


def divisor(count: int, most: int) -> int:
  """Returns the largest divisor of `count` up to `most`."""
  return max(n for n in range(1, most + 1) if count % n == 0)
