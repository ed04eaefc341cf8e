"""Setup of a training run: everything it needs, and its first state."""

import contextlib
import pathlib
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.evaluation.validation import Validator
from cinn_jax.experiment.build import build, open_source
from cinn_jax.flow import Flow
from cinn_jax.runtime import sharding
from cinn_jax.tasks import Task
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.pretraining import pretrain
from cinn_jax.training.step import make_train_step
from cinn_jax.training.stopping import Stop, Watchdog
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import newest_intact, saved_steps
from cinn_jax.workdir.state import State, init_state

Batch = Mapping[str, Any]


class Run(NamedTuple):
  """Everything of a run that does not change from step to step.

  Attributes:
    config: The config.
    workdir: Folder of the run; an `epath.Path` if it is in a bucket.
    checkpoints: The workdir's checkpoints.
    mesh: The devices.
    flow: The flow to train.
    task: Turns pictures into the flow's data.
    optimizer: The optimizer.
    abstract: Shapes and shardings of the state.
    train_step: `(state, batch) -> (state, metrics)`, compiled on its first
      call; donates the state.
    train_source: Pictures to train on.
    validation_source: Pictures to validate on.
    validator: Scores and draws the validation pictures.
    stop: Listens for signals.
    watchdog: Ends a run that hangs.
  """

  config: ConfigDict
  workdir: pathlib.Path
  checkpoints: Checkpoints
  mesh: jax.sharding.Mesh
  flow: Flow
  task: Task
  optimizer: optax.GradientTransformationExtraArgs
  abstract: State
  train_step: Any  # A jitted function, whose type JAX does not export.
  train_source: Source
  validation_source: Source
  validator: Validator
  stop: Stop
  watchdog: Watchdog


def set_up(
  config: ConfigDict,
  workdir: pathlib.Path,
  checkpoints: Checkpoints,
  stop: Stop,
  watchdog: Watchdog,
) -> Run:
  """Builds everything a run needs.

  Raises:
    ValueError: for a config, a data set or a number of devices that do not fit.
  """
  for name in ("num_steps", "log_every", "eval_every", "sheet_every"):
    if config.train[name] < 1:
      raise ValueError(
        f"train.{name} is {config.train[name]}, expected 1 or more."
      )
  batch_size = config.train.batch_size
  mesh = sharding.make_mesh()
  for name, size in (
    ("batch_size", batch_size),
    ("init_batch_size", init_batch_size(config)),
  ):
    sharding.check_batch_size(size, mesh, f"train.{name}")
  flow, task = build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **phases.optimizer_options(config)
  )
  abstract = abstract_state(config, mesh, flow, task, optimizer)
  train_source, validation_source = (
    open_source(config, task, split) for split in ("train", "validation")
  )
  return Run(
    config=config,
    workdir=workdir,
    checkpoints=checkpoints,
    mesh=mesh,
    flow=flow,
    task=task,
    optimizer=optimizer,
    abstract=abstract,
    train_step=jit_train_step(config, mesh, flow, task, optimizer, abstract),
    train_source=train_source,
    validation_source=validation_source,
    validator=Validator(
      flow,
      task,
      validation_source,
      mesh,
      batch_size=batch_size,
      seed=config.train.seed,
    ),
    stop=stop,
    watchdog=watchdog,
  )


def abstract_state(
  config: ConfigDict,
  mesh: jax.sharding.Mesh,
  flow: Flow,
  task: Task,
  optimizer: optax.GradientTransformation,
) -> State:
  """Returns the shapes of a run's state, and where each array lives."""
  shapes = jax.eval_shape(
    lambda: init_state(
      jax.random.key(0),
      flow,
      task,
      optimizer,
      averaged=bool(config.train.ema_decay),
    )
  )
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    shapes,
    sharding.state_shardings(
      shapes, mesh, fully_sharded=config.train.fully_sharded
    ),
  )


def jit_train_step(
  config: ConfigDict,
  mesh: jax.sharding.Mesh,
  flow: Flow,
  task: Task,
  optimizer: optax.GradientTransformation,
  abstract: State,
) -> Any:
  """Returns the jitted training step, for a state as in `abstract`."""
  settings = config.train
  step = make_train_step(
    flow,
    task,
    optimizer,
    seed=settings.seed,
    ema_decay=settings.ema_decay,
    unconditional_steps=phases.unconditional_steps(config),
  )
  places = _shardings(abstract)
  return jax.jit(
    step,
    # The new state is written where the old one was. Unused arrays stay
    # arguments: if one were dropped, the buffers of the others would no longer
    # match.
    donate_argnums=0,
    keep_unused=True,
    in_shardings=(places, sharding.by_example(mesh)),
    out_shardings=(places, sharding.replicated(mesh)),
  )


def start(run: Run) -> tuple[State, Generator[Batch, None, None]]:
  """Returns the state that the run starts from, and the batches that follow.

  The state is that of the newest checkpoint, or a new one at step 0.
  """
  if run.checkpoints.latest_step() is not None:
    state = restore_state(run.workdir, run.checkpoints, run.abstract)
    print(f"Resuming from step {int(state.step):,}.")
    return state, _batches(run, int(state.step))
  with contextlib.closing(
    # One of these is enough, and may be large.
    _batches(run, 0, init_batch_size(run.config), num_threads=1, prefetch=1)
  ) as batches:
    first = next(batches)
  state = pretrain(
    new_state(run, first),
    config=run.config,
    flow=run.flow,
    task=run.task,
    train_source=run.train_source,
    validation_source=run.validation_source,
    shardings=_shardings(run.abstract),
    alive=run.watchdog.beat,
  )
  return state, _batches(run, 0)


def init_batch_size(config: ConfigDict) -> int:
  """Returns the number of pictures from which layers such as ActNorm start.

  It is `train.init_batch_size`. Configs that have none, or 0, take one training
  batch.

  Raises:
    ValueError: for a negative number.
  """
  size = config.train.get("init_batch_size", 0)
  if size < 0:
    raise ValueError(
      f"train.init_batch_size is {size}, expected a number of pictures, or 0"
      " for one batch."
    )
  return size or config.train.batch_size


def new_state(run: Run, batch: Batch) -> State:
  """Returns the state at step 0.

  Args:
    run: The run.
    batch: The first pictures of the loader's order, `init_batch_size` of them
      in all processes together.
  """
  return jit_init(run)(sharding.put_batch(batch, run.mesh))


def jit_init(run: Run) -> Any:
  """Returns the jitted `(batch) -> state` of step 0."""
  rng = jax.random.key(run.config.train.seed)
  # The batch is an argument, so that it is spread over the devices and its
  # statistics cover all of it.
  return jax.jit(
    lambda batch: init_state(
      rng,
      run.flow,
      run.task,
      run.optimizer,
      batch,
      averaged=bool(run.config.train.ema_decay),
      # As in a training step, so that it takes no more memory.
      batch_size=run.config.train.batch_size,
    ),
    in_shardings=sharding.by_example(run.mesh),
    out_shardings=_shardings(run.abstract),
  )


def restore_state(
  workdir: pathlib.Path, checkpoints: Checkpoints, abstract: State
) -> State:
  """Restores the newest intact checkpoint and sets newer, damaged ones aside.

  Raises:
    saved.Damaged: if there is no intact one.
  """
  # Listed before any process moves one: all must see the same steps.
  steps = saved_steps(workdir)
  step, state = newest_intact(
    workdir, lambda step: checkpoints.restore(step, abstract)
  )
  for newer in steps:
    if newer > step:
      checkpoints.set_aside(newer)
  return state


def _shardings(abstract: State) -> State:
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def _batches(run, start, batch_size=None, **threads):
  return loader.training_batches(
    run.train_source,
    image_size=run.task.image_size,
    batch_size=batch_size or run.config.train.batch_size,
    seed=run.config.train.seed,
    min_scale=run.config.augment.min_scale,
    flip=run.config.augment.flip,
    start_step=start,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    **threads,
  )
