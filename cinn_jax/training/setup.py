"""Setup of a training run: everything that it needs."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from cinn_jax.data.base import Source
from cinn_jax.evaluation.validation import Validator
from cinn_jax.experiment.build import build, open_source
from cinn_jax.flow import Flow
from cinn_jax.runtime import sharding
from cinn_jax.tasks import Task
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.training.stopping import Stop, Watchdog
from cinn_jax.workdir.checkpoint import Checkpoints
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
  for name, value in (
    ("train.watchdog_minutes", config.train.watchdog_minutes),
    ("optimizer.clip_value", config.optimizer.get("clip_value", 0.0)),
    ("optimizer.clip_norm", config.optimizer.get("clip_norm", 0.0)),
  ):
    if not value >= 0:
      raise ValueError(f"{name} is {value}, expected 0 (off) or more.")
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
    mesh=None if settings.fully_sharded else mesh,
  )
  places = shardings(abstract)
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


def shardings(abstract: State) -> State:
  """Returns the sharding of each array of `Run.abstract`."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)
