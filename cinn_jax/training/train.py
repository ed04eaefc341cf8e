"""The training loop."""

import pathlib

import jax

from cinn_jax import experiment, pictures
from cinn_jax.data import loader
from cinn_jax.evaluation.validation import Validator
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
  mesh = sharding.make_mesh()
  sharding.check_batch_size(config.train.batch_size, mesh, "train.batch_size")
  flow, task = experiment.build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **config.optimizer.to_dict()
  )
  checkpoints = Checkpoints(workdir)
  try:
    start = checkpoints.latest_step() or 0
    if start >= config.train.num_steps:
      print(
        f"{workdir} is finished: {start:,} steps are done, of"
        f" {config.train.num_steps:,}. Raise --config.train.num_steps to go on."
      )
      return
    # First of all: what is wrong with the data shows at once.
    pictures_of = {
      split: experiment.open_source(config, split)
      for split in ("train", "validation")
    }
    state = _state_at(start, config, flow, task, optimizer, mesh, checkpoints)
    _loop(
      *(config, workdir, mesh, flow, task, optimizer),
      *(checkpoints, state, pictures_of),
    )
  finally:
    checkpoints.close()


def _state_at(start, config, flow, task, optimizer, mesh, checkpoints):
  """The state at step `start`: from its checkpoint, or a new one at 0."""

  def init():
    rng = jax.random.key(config.train.seed)
    return init_state(rng, flow, task, optimizer)

  everywhere = sharding.replicated(mesh)
  if start == 0:
    return jax.jit(init, out_shardings=everywhere)()
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=everywhere
    ),
    jax.eval_shape(init),
  )
  print(f"Going on from step {start:,}.")
  return checkpoints.restore(start, abstract)


def _loop(
  config,
  workdir,
  mesh,
  flow,
  task,
  optimizer,
  checkpoints,
  state,
  pictures_of,
):
  settings, start = config.train, int(state.step)
  validator = Validator(
    flow,
    task,
    pictures_of["validation"],
    mesh,
    batch_size=settings.batch_size,
    seed=settings.seed,
  )
  step_function = _compile_step(settings, mesh, flow, task, optimizer)
  batches = loader.training_batches(
    pictures_of["train"],
    image_size=task.image_size,
    batch_size=settings.batch_size,
    seed=settings.seed,
    min_scale=config.augment.min_scale,
    flip=config.augment.flip,
    start_step=start,
  )
  log = Log(workdir, start)
  monitor = Monitor(
    log,
    start=start,
    num_steps=settings.num_steps,
    batch_size=settings.batch_size,
    log_every=settings.log_every,
  )
  with log, monitor:
    monitor.say(f"bits/dim is of {task.describe}.")
    for source in pictures_of.values():
      monitor.say(f"Pictures: {source.name}.")
    for step in range(start + 1, settings.num_steps + 1):
      batch = sharding.put_batch(monitor.waiting(batches), mesh)
      state, metrics = step_function(state, batch)
      monitor.dispatched(step, metrics)
      if step == settings.num_steps or step % settings.eval_every == 0:
        with monitor.paused():
          text = _validate(config, workdir, validator, checkpoints, log, state)
          monitor.say(text)


def _compile_step(settings, mesh, flow, task, optimizer):
  step = make_train_step(
    flow, task, optimizer, seed=settings.seed, ema_decay=settings.ema_decay
  )
  everywhere = sharding.replicated(mesh)
  return jax.jit(
    step,
    # The state is replaced by its successor: its buffers are used again.
    donate_argnums=0,
    in_shardings=(everywhere, sharding.by_example(mesh)),
    out_shardings=(everywhere, everywhere),
  )


def _validate(config, workdir, validator, checkpoints, log, state):
  """Scores the averaged model, saves the state, draws a sheet; says so."""
  settings, step = config.train, int(state.step)
  scores = validator.score(state.ema_variables)
  log.scalars(step, "validation", scores)
  checkpoints.save(state, config.to_dict(), scores)
  bits = scores["bits_per_dim"]
  text = (
    f"Step {step:,}: validation bits/dim {bits:.4f}"
    f" ({scores['examples']:,} pictures), largest round-trip error"
    f" {scores['round_trip_error']:.1e}, log-scale"
    f" {scores['max_log_scale']:.2f}"
  )
  if step == settings.num_steps or step % settings.sheet_every == 0:
    sheet = validator.sheet(
      state.ema_variables, f"step {step:,}, validation bits/dim {bits:.3f}"
    )
    path = workdir / "sheets" / f"step_{step:06d}.png"
    pictures.save_png(path, sheet)
    log.picture(step, "samples", sheet)
    text += f"\nStep {step:,}: samples in {path}"
  return text
