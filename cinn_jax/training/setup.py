"""What a training run is made of, and where it starts."""

import contextlib
import pathlib
from typing import NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.experiment.build import build, open_source
from cinn_jax.flow import Flow
from cinn_jax.runtime import sharding
from cinn_jax.tasks import Task
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.pretraining import pretrained
from cinn_jax.training.step import make_train_step
from cinn_jax.training.stopping import Stop, Watchdog
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import newest_intact, saved_steps
from cinn_jax.workdir.state import State, init_state


class Run(NamedTuple):
  """What stays the same while a run goes on.

  `abstract` has the shapes of its state, and where each array lives.
  """

  config: ConfigDict
  workdir: pathlib.Path  # Or epath.Path, see `storage.path`.
  checkpoints: Checkpoints
  mesh: jax.sharding.Mesh
  abstract: State
  flow: Flow
  task: Task
  optimizer: optax.GradientTransformationExtraArgs
  train_source: Source
  validation_source: Source
  stop: Stop
  watchdog: Watchdog

  @property
  def shardings(self) -> State:
    return jax.tree.map(lambda leaf: leaf.sharding, self.abstract)


def set_up(config, workdir, checkpoints, stop, watchdog):
  """What is wrong with the devices, the config or the data shows here."""
  for name in ("num_steps", "log_every", "eval_every", "sheet_every"):
    if config.train[name] < 1:
      raise ValueError(
        f"train.{name} is {config.train[name]}, expected 1 or more."
      )
  mesh = sharding.make_mesh()
  sharding.check_batch_size(config.train.batch_size, mesh, "train.batch_size")
  flow, task = build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **phases.optimizer_options(config)
  )
  abstract = abstract_state(config, mesh, flow, task, optimizer)
  sources = [
    open_source(config, task, split) for split in ("train", "validation")
  ]
  return Run(
    *(config, workdir, checkpoints, mesh, abstract, flow, task, optimizer),
    *(*sources, stop, watchdog),
  )


def abstract_state(config, mesh, flow, task, optimizer):
  """Shapes of a run's state, and where each array lives."""
  abstract = jax.eval_shape(
    lambda: init_state(
      *(jax.random.key(0), flow, task, optimizer),
      averaged=bool(config.train.ema_decay),
    )
  )
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    abstract,
    sharding.of_state(abstract, mesh, fully_sharded=config.train.fully_sharded),
  )


def start(run):
  """(state, batches to come): of the newest checkpoint, or new at step 0."""
  if run.checkpoints.latest_step() is not None:
    state = _restored_state(run)
    print(f"Going on from step {int(state.step):,}.")
    return state, _batches(run, int(state.step))
  batches = _batches(run, 0)
  first = next(batches)
  state = pretrained(
    new_state(run, first),
    *(run.config, run.flow, run.task),
    *(run.train_source, run.validation_source, run.shardings),
    run.watchdog.beat,
  )
  return state, _with_first(first, batches)


def _with_first(first, batches):
  with contextlib.closing(batches):
    yield first
    yield from batches


def _batches(run, start):
  return loader.training_batches(
    run.train_source,
    image_size=run.task.image_size,
    batch_size=run.config.train.batch_size,
    seed=run.config.train.seed,
    min_scale=run.config.augment.min_scale,
    flip=run.config.augment.flip,
    start_step=start,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )


def new_state(run, batch):
  """The state at step 0; `batch` as the loader gives it."""
  rng = jax.random.key(run.config.train.seed)
  # The batch is an argument, so that it is spread over the devices and its
  # statistics are of all of it.
  init = jax.jit(
    lambda batch: init_state(
      *(rng, run.flow, run.task, run.optimizer, batch),
      averaged=bool(run.config.train.ema_decay),
    ),
    in_shardings=sharding.by_example(run.mesh),
    out_shardings=run.shardings,
  )
  return init(sharding.put_batch(batch, run.mesh))


def _restored_state(run):
  """The state of the newest intact checkpoint; damaged ones are set aside."""
  # All processes have to see the same, so before the first of them moves any.
  steps = saved_steps(run.workdir)
  step, state = newest_intact(
    run.workdir, lambda step: run.checkpoints.restore(step, run.abstract)
  )
  for newer in steps:
    if newer > step:
      run.checkpoints.set_aside(newer)
  return state


def compile_step(run):
  settings = run.config.train
  step = make_train_step(
    *(run.flow, run.task, run.optimizer),
    seed=settings.seed,
    ema_decay=settings.ema_decay,
    unconditional_steps=phases.unconditional_steps(run.config),
  )
  return jax.jit(
    step,
    # The state is replaced by its successor: its buffers are used again, each
    # for what it was. Were an unused one left out, the others would move up.
    donate_argnums=0,
    keep_unused=True,
    in_shardings=(run.shardings, sharding.by_example(run.mesh)),
    out_shardings=(run.shardings, sharding.replicated(run.mesh)),
  )
