"""The first state of a training run, and the batches that follow it."""

import contextlib
import pathlib
from collections.abc import Generator
from typing import Any

import jax

from cinn_jax.data import loader
from cinn_jax.runtime import sharding
from cinn_jax.training.pretraining import pretrain
from cinn_jax.training.setup import Batch, Run, init_batch_size, shardings
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import newest_intact, saved_steps
from cinn_jax.workdir.state import State, init_state
from cinn_jax.workdir.trained import restore


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
  state = new_state(run, first)
  if source := run.config.train.get("init_from"):
    return start_from(run, state, source), _batches(run, 0)
  state = pretrain(
    state,
    config=run.config,
    flow=run.flow,
    task=run.task,
    train_source=run.train_source,
    validation_source=run.validation_source,
    shardings=shardings(run.abstract),
    alive=run.watchdog.beat,
  )
  return state, _batches(run, 0)


def start_from(run: Run, state: State, source: str) -> State:
  """Returns a state of step 0 with the parameters of another run.

  Args:
    run: The run.
    state: Its own first state.
    source: See `trained.restore`.

  Raises:
    FileNotFoundError: if `source` holds no trained flow.
    ValueError: if it is another network.
  """
  other = restore(source)
  # Through the host: what was restored is on one device.
  variables = jax.device_get(dict(other.variables))
  params = variables.pop("params")
  mine = _shapes((state.fit.params, state.fit.constants))
  if mine != _shapes((params, variables)):
    raise ValueError(
      f"train.init_from={source} is another network than this config's: take"
      " the config of that run."
    )
  print(f"Starting from {source}, step {other.step:,}.")
  fit = state.fit._replace(params=params, constants=variables)
  started = state._replace(fit=fit, ema=state.ema and params)
  return sharding.copy_to(started, shardings(run.abstract))


def _shapes(tree):
  flat = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf.shape for path, leaf in flat}


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
    out_shardings=shardings(run.abstract),
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
