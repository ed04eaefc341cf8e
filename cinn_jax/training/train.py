"""The training loop."""

import itertools
import pathlib
from typing import NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from cinn_jax import experiment, pictures
from cinn_jax.data import loader
from cinn_jax.data.sources import Source
from cinn_jax.evaluation import bits
from cinn_jax.evaluation.validation import Validator
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task
from cinn_jax.training import sharding
from cinn_jax.training.checkpoint import Checkpoints, check_same_run
from cinn_jax.training.logs import Log
from cinn_jax.training.monitor import Monitor
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.state import init_state
from cinn_jax.training.step import make_train_step


def train(config, workdir):
  """Trains what `config` describes, in `workdir`, or goes on where it stopped.

  Leaves checkpoints, `metrics.jsonl`, TensorBoard files and contact sheets in
  the workdir. The last step is always validated and saved. A finished run is
  left as it is.

  Raises:
    monitor.Diverged: where a loss or gradient is not finite; the checkpoints
      stay.
    ValueError: where the config does not fit the data, the devices, or the run
      that the workdir holds.
  """
  workdir = pathlib.Path(workdir)
  check_same_run(workdir, config.to_dict())
  checkpoints = Checkpoints(workdir)
  try:
    start = checkpoints.latest_step() or 0
    if start >= config.train.num_steps:
      print(
        f"{workdir} is finished: {start:,} steps are done, of"
        f" {config.train.num_steps:,}. Raise --config.train.num_steps to go on."
      )
      return
    _loop(_set_up(config, workdir, checkpoints), start)
  finally:
    checkpoints.close()


class _Run(NamedTuple):
  """What stays the same while a run goes on."""

  config: ConfigDict
  workdir: pathlib.Path
  checkpoints: Checkpoints
  mesh: jax.sharding.Mesh
  flow: Flow
  task: Task
  optimizer: optax.GradientTransformationExtraArgs
  train_source: Source
  validation_source: Source


def _set_up(config, workdir, checkpoints):
  """What is wrong with the devices, the config or the data shows here."""
  mesh = sharding.make_mesh()
  sharding.check_batch_size(config.train.batch_size, mesh, "train.batch_size")
  flow, task = experiment.build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **config.optimizer.to_dict()
  )
  sources = [
    experiment.open_source(config, split) for split in ("train", "validation")
  ]
  return _Run(
    *(config, workdir, checkpoints, mesh, flow, task, optimizer), *sources
  )


def _start(run, step):
  """(state, batches to come) at `step`: new at 0, else of its checkpoint."""
  batches = loader.training_batches(
    run.train_source,
    image_size=run.task.image_size,
    batch_size=run.config.train.batch_size,
    seed=run.config.train.seed,
    min_scale=run.config.augment.min_scale,
    flip=run.config.augment.flip,
    start_step=step,
  )
  if step > 0:
    print(f"Going on from step {step:,}.")
    return _restored_state(run, step), batches
  first = next(batches)
  return _new_state(run, first), itertools.chain([first], batches)


def _init(run, batch=None):
  rng = jax.random.key(run.config.train.seed)
  return init_state(rng, run.flow, run.task, run.optimizer, batch)


def _new_state(run, batch):
  # The batch is an argument, so that it is spread over the devices and its
  # statistics are of all of it.
  init = jax.jit(
    lambda batch: _init(run, batch),
    in_shardings=sharding.by_example(run.mesh),
    out_shardings=sharding.replicated(run.mesh),
  )
  return init(sharding.put_batch(batch, run.mesh))


def _restored_state(run, step):
  everywhere = sharding.replicated(run.mesh)
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=everywhere
    ),
    jax.eval_shape(lambda: _init(run)),
  )
  return run.checkpoints.restore(step, abstract)


def _loop(run, start):
  settings = run.config.train
  validator = Validator(
    *(run.flow, run.task, run.validation_source, run.mesh),
    batch_size=settings.batch_size,
    seed=settings.seed,
  )
  step_function = _compile_step(run)
  state, batches = _start(run, start)
  log = Log(run.workdir, start)
  monitor = Monitor(
    log,
    start=start,
    num_steps=settings.num_steps,
    batch_size=settings.batch_size,
    log_every=settings.log_every,
  )
  with log, monitor:
    monitor.say(f"bits/dim is of {run.task.describe}.")
    for source in (run.train_source, run.validation_source):
      monitor.say(f"Pictures: {source.name}.")
    for step in range(start + 1, settings.num_steps + 1):
      batch = sharding.put_batch(monitor.waiting(batches), run.mesh)
      state, metrics = step_function(state, batch)
      monitor.dispatched(step, metrics)
      if step == settings.num_steps or step % settings.eval_every == 0:
        with monitor.paused():
          monitor.say(_validate(run, validator, log, state))


def _compile_step(run):
  settings = run.config.train
  step = make_train_step(
    *(run.flow, run.task, run.optimizer),
    seed=settings.seed,
    ema_decay=settings.ema_decay,
  )
  everywhere = sharding.replicated(run.mesh)
  return jax.jit(
    step,
    # The state is replaced by its successor: its buffers are used again.
    donate_argnums=0,
    in_shardings=(everywhere, sharding.by_example(run.mesh)),
    out_shardings=(everywhere, everywhere),
  )


def _validate(run, validator, log, state):
  """Scores the averaged model, saves the state, draws a sheet; says so."""
  settings, step = run.config.train, int(state.step)
  scores = validator.score(state.ema_variables)
  log.scalars(step, "validation", scores)
  run.checkpoints.save(state, run.config.to_dict(), scores)
  text = f"Step {step:,}: validation {bits.in_words(scores, run.task)}"
  if step == settings.num_steps or step % settings.sheet_every == 0:
    sheet = validator.sheet(
      state.ema_variables,
      f"step {step:,}, validation bits/dim {scores['bits_per_dim']:.3f}",
    )
    path = run.workdir / "sheets" / f"step_{step:06d}.png"
    pictures.save_png(path, sheet)
    log.picture(step, "samples", sheet)
    text += f"\nStep {step:,}: samples in {path}"
  return text
