"""The training loop."""

import collections
import contextlib
import functools

import jax
from jax.experimental import multihost_utils

from cinn_jax.evaluation import bits
from cinn_jax.evaluation.validation import Validator
from cinn_jax.images import writing
from cinn_jax.runtime import processes, sharding, storage
from cinn_jax.runtime.flops import jaxpr_flops
from cinn_jax.training import diagnosis
from cinn_jax.training import setup as runs
from cinn_jax.training.monitor import Diverged, Monitor
from cinn_jax.training.profiling import Profiler
from cinn_jax.training.stopping import (
  Stop,
  Stopped,
  Watchdog,
  leaving_without_peers,
)
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.lock import locked
from cinn_jax.workdir.log import Log
from cinn_jax.workdir.same_run import check_same_run


def train(config, workdir, *, profile=False):
  """Trains what `config` describes, in `workdir`, or goes on where it stopped.

  Leaves checkpoints, `metrics.jsonl`, TensorBoard files and contact sheets in
  the workdir. The last step is always validated and saved. A finished run is
  left as it is. Killed at any moment and called again, it ends with the same
  parameters as if it had not been.

  With `profile` a few steps are traced into `workdir/profile`, for TensorBoard
  or Perfetto.

  Raises:
    monitor.Diverged: where a loss or gradient is not finite; the checkpoints
      stay.
    stopping.Stopped: on SIGTERM, Ctrl-C, or a notice of preemption, after
      saving.
    OSError: where another run is in the workdir, or it cannot be written.
    ValueError: where the config does not fit the data, the devices, or the run
      that the workdir holds.
  """
  workdir = storage.path(workdir)
  with (
    Stop() as stop,
    locked(workdir),
    # To the end: the last checkpoint is still being written when steps are.
    Watchdog(config.train.watchdog_minutes) as watchdog,
    leaving_without_peers(),
  ):
    check_same_run(workdir, config.to_dict())
    with (
      contextlib.closing(Checkpoints(workdir)) as checkpoints,
      # Before the closing, which would wait for those that are gone.
      leaving_without_peers(),
    ):
      done = checkpoints.latest_step() or 0
      if done >= config.train.num_steps and checkpoints.metrics(done):
        print(
          f"{workdir} is finished: {done:,} steps are done, of"
          f" {config.train.num_steps:,}. Raise --config.train.num_steps to go"
          " on."
        )
        return
      run = runs.set_up(config, workdir, checkpoints, stop, watchdog)
      with Profiler(workdir / "profile" if profile else None) as profiler:
        _loop(run, profiler)


def _loop(run, profiler):
  settings = run.config.train
  validator = Validator(
    *(run.flow, run.task, run.validation_source, run.mesh),
    batch_size=settings.batch_size,
    seed=settings.seed,
  )
  step_function = runs.compile_step(run)
  state, batches = runs.start(run)
  start = int(state.step)
  log = Log(run.workdir, start)
  monitor = Monitor(
    log,
    start=start,
    num_steps=settings.num_steps,
    batch_size=settings.batch_size,
    log_every=settings.log_every,
  )
  run.stop.defer()
  run.watchdog.beat()
  with log, monitor, contextlib.closing(batches):
    monitor.say(f"bits/dim is of {run.task.description}.")
    for source in (run.train_source, run.validation_source):
      monitor.say(f"Pictures: {source.name}, listing {source.listing_hash}.")
    if start and _is_due(run, start) and not run.checkpoints.metrics(start):
      # Told to stop there, the run before left without.
      _validate(run, validator, log, monitor, state)
    # That a step was not finite shows when the next one is under way.
    recent = collections.deque(maxlen=2)
    try:
      for step in range(start + 1, settings.num_steps + 1):
        batch = sharding.put_batch(monitor.waiting(batches), run.mesh)
        recent.append((step, batch))
        if step == start + 1:
          monitor.cost(jaxpr_flops(step_function.trace(state, batch).jaxpr))
        profiler.before(step - start, state)
        state, metrics = step_function(state, batch)
        monitor.dispatched(step, metrics)
        run.watchdog.beat()
        if run.stop.requested(step):
          _leave(run, log, monitor, state)
        if _is_due(run, step):
          _validate(run, validator, log, monitor, state)
    except Diverged as error:
      raise _diagnosed(run, error, state, dict(recent)) from None


def _is_due(run, step):
  settings = run.config.train
  return step == settings.num_steps or step % settings.eval_every == 0


def _validate(run, validator, log, monitor, state):
  with monitor.paused():
    try:
      monitor.say(_validated(run, validator, log, state))
    except Stopped:
      _leave(run, log, monitor, state)


def _validated(run, validator, log, state):
  """Scores the averaged model, saves the state, draws a sheet; says so."""
  settings, step = run.config.train, int(state.step)

  def alive():
    run.watchdog.beat()
    run.stop.check()

  scores = validator.score(state.ema_variables, alive)
  log.scalars(step, "validation", scores)
  text = f"Step {step:,}: validation {bits.in_words(scores, run.task)}"
  if step == settings.num_steps or step % settings.sheet_every == 0:
    sheet = validator.sheet(
      state.ema_variables,
      f"step {step:,}, validation bits/dim {scores['bits_per_dim']:.3f}",
    )
    path = run.workdir / "sheets" / f"step_{step:06d}.png"
    if processes.is_first():
      writing.save_png(path, sheet)
    log.picture(step, "samples", sheet)
    text += f"\nStep {step:,}: samples in {path}"
  log.upload()
  # Last: what is saved counts as done.
  run.checkpoints.save(state, run.config.to_dict(), scores)
  return text


def _leave(run, log, monitor, state):
  """Saves a state that was not validated, and leaves."""
  with monitor.paused():
    log.upload()
    run.checkpoints.save(state, run.config.to_dict(), None)
    run.checkpoints.wait()
  raise Stopped(
    f"Saved step {int(state.step):,} of {run.config.train.num_steps:,} in"
    f" {run.workdir}: the same command goes on from there."
  )


def _diagnosed(run, error, state, batches):
  """The error with what went wrong first, and a file that shows it again."""
  variables = {"params": state.params, **state.constants}
  batch = batches[error.step]
  if jax.process_count() > 1:
    gather = functools.partial(multihost_utils.process_allgather, tiled=True)
    variables, batch = gather((variables, batch))
  else:
    variables, batch = jax.device_get((variables, batch))
  where = diagnosis.diagnose(
    *(run.flow, run.task, variables, batch),
    seed=run.config.train.seed,
    step=error.step,
  )
  path = run.workdir / "diverged" / f"step_{error.step:06d}.npz"
  if processes.is_first():
    diagnosis.dump(
      path,
      config=run.config.to_dict(),
      variables=variables,
      batch=batch,
      step=error.step,
    )
  return Diverged(
    f"{error} First not finite: {where}; again by: python -m"
    f" cinn_jax.training.diagnosis {path}",
    error.step,
  )
