"""The training loop."""

import collections
import contextlib
import functools
import os
from typing import Any

import jax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from cinn_jax.evaluation import bits
from cinn_jax.images import writing
from cinn_jax.runtime import processes, sharding, storage
from cinn_jax.runtime.flops import jaxpr_flops
from cinn_jax.training import diagnosis
from cinn_jax.training.monitor import Diverged, Monitor
from cinn_jax.training.profiling import Profiler
from cinn_jax.training.setup import Batch, Run, set_up
from cinn_jax.training.start import start
from cinn_jax.training.stopping import (
  Stop,
  Stopped,
  Watchdog,
  exit_without_peers,
)
from cinn_jax.workdir.checkpoint import Checkpoints, check_path
from cinn_jax.workdir.lock import check_shared, hold_lock
from cinn_jax.workdir.log import Log
from cinn_jax.workdir.same_run import check_same_run, note_pictures
from cinn_jax.workdir.saved import ranking
from cinn_jax.workdir.state import State


def train(
  config: ConfigDict,
  workdir: str | os.PathLike[str],
  *,
  profile: bool = False,
) -> None:
  """Trains the model of a config, or resumes its run.

  Writes checkpoints, `metrics.jsonl`, TensorBoard files and contact sheets to
  the workdir. The last step is always validated and saved. A finished run is
  left as it is. A run that was killed at any moment and called again ends with
  the same parameters as one that was not.

  Args:
    config: Config of the run, as in `configs/`.
    workdir: Folder of the run, or gs://BUCKET/FOLDER.
    profile: Trace a few steps into `workdir/profile`, for TensorBoard or
      Perfetto.

  Raises:
    monitor.Diverged: if several steps in a row have a loss or gradient that is
      not finite; the checkpoints stay.
    stopping.Stopped: on SIGTERM, Ctrl-C, or a notice of preemption, after
      saving.
    OSError: if another run uses the workdir, or it cannot be written.
    ValueError: if the config does not fit the data, the devices, or the run in
      the workdir.
  """
  folder = storage.path(workdir)
  check_path(folder)
  with (
    Stop() as stop,
    hold_lock(folder),
    # Entered early: it also watches the last checkpoint being written.
    Watchdog(config.train.watchdog_minutes) as watchdog,
    exit_without_peers(),
  ):
    check_shared(folder)
    check_same_run(folder, config.to_dict())
    with (
      contextlib.closing(Checkpoints(folder, clean=True)) as checkpoints,
      # Inside, so that it exits before the closing, which would wait for lost
      # processes.
      exit_without_peers(),
    ):
      done = checkpoints.latest_step() or 0
      if done >= config.train.num_steps and checkpoints.metrics(done):
        print(
          f"{folder} is finished: {done:,} steps are done, of"
          f" {config.train.num_steps:,}. Raise --config.train.num_steps to"
          " train longer."
        )
        return
      run = set_up(config, folder, checkpoints, stop, watchdog)
      with Profiler(folder / "profile" if profile else None) as profiler:
        _loop(run, profiler)


def _loop(run: Run, profiler: Profiler) -> None:
  settings = run.config.train
  state, batches = start(run)
  first = int(state.step) + 1
  log = Log(run.workdir, int(state.step))
  monitor = Monitor(
    log,
    start=int(state.step),
    num_steps=settings.num_steps,
    batch_size=settings.batch_size,
    log_every=settings.log_every,
    clip_norm=run.config.optimizer.get("clip_norm", 0.0),
  )
  run.stop.defer()
  run.watchdog.beat()
  with log, monitor, contextlib.closing(batches):
    of = "bits/dim is" if run.flow.objective is None else "Scores are"
    monitor.write(f"{of} of {run.task.description}.")
    for source in (run.train_source, run.validation_source):
      monitor.write(f"Pictures: {source.name}, listing {source.listing_hash}.")
    if warning := note_pictures(run.workdir, _listings(run)):
      monitor.write(warning)
    if _lacks_validation(run, state):
      _validate(run, log, monitor, state)
    # A step that is not finite is noticed while the next one is under way.
    recent: collections.deque = collections.deque(maxlen=2)
    try:
      for step in range(first, settings.num_steps + 1):
        batch = sharding.put_batch(monitor.next_batch(batches), run.mesh)
        recent.append((step, batch))
        if step == first:
          monitor.set_step_flops(
            jaxpr_flops(run.train_step.trace(state, batch).jaxpr)
          )
        profiler.before(step - first + 1, state)
        state, metrics = run.train_step(state, batch)
        monitor.add(step, metrics)
        run.watchdog.beat()
        if run.stop.requested(step):
          _leave(run, log, monitor, state)
        if _is_due(run, step, state):
          _validate(run, log, monitor, state)
    except Diverged as error:
      raise _diagnosed(run, error, state, dict(recent)) from None


def _listings(run):
  return {
    "training": run.train_source.listing_hash,
    "validation": run.validation_source.listing_hash,
  }


def _is_due(run, step, state):
  settings = run.config.train
  # Above it, if the number was lowered after a break.
  if step >= settings.num_steps:
    return True
  # A model that may be about to diverge is not saved as the newest.
  return step % settings.eval_every == 0 and not int(state.skipped)


def _lacks_validation(run, state):
  """Returns whether the run was stopped just before validating a step."""
  step = int(state.step)
  if step == 0 or not _is_due(run, step, state):
    return False
  return not run.checkpoints.metrics(step)


def _validate(run, log, monitor, state):
  with monitor.pause():
    try:
      monitor.write(_validated(run, log, state))
    except Stopped:
      _leave(run, log, monitor, state)


def _validated(run: Run, log: Log, state: State) -> str:
  """Scores the averaged model, saves the state, draws a sheet; describes it."""
  settings, step = run.config.train, int(state.step)

  def alive():
    run.watchdog.beat()
    run.stop.check()

  scores = run.validator.score(state.ema_variables, alive)
  log.scalars(step, "validation", scores)
  text = f"Step {step:,}: validation {bits.in_words(scores, run.task)}"
  if step >= settings.num_steps or step % settings.sheet_every == 0:
    name, value = ranking(scores)
    title = "bits/dim" if name == "bits_per_dim" else name
    sheet = run.validator.sheet(
      state.ema_variables, f"step {step:,}, validation {title} {value:.3f}"
    )
    path = run.workdir / "sheets" / f"step_{step:06d}.png"
    if processes.is_first():
      writing.save_png(path, sheet)
    log.picture(step, "samples", sheet)
    text += f"\nStep {step:,}: samples in {path}"
  log.upload()
  # Last: a saved step counts as done.
  run.checkpoints.save(state, run.config.to_dict(), scores)
  return text


def _leave(run, log, monitor, state):
  """Saves a state that was not validated, and raises Stopped."""
  with monitor.pause():
    run.checkpoints.save(state, run.config.to_dict(), None)
    run.checkpoints.wait()
    # After it: a log that cannot be uploaded must not cost the state.
    log.upload()
  raise Stopped(
    f"Saved step {int(state.step):,} of {run.config.train.num_steps:,} in"
    f" {run.workdir}: the same command resumes from there."
  )


def _diagnosed(
  run: Run, error: Diverged, state: State, batches: dict[int, Batch]
) -> Diverged:
  """Returns the error with its cause, and writes a file that reproduces it."""
  assert error.step is not None  # A monitor's errors have a step.
  variables: Any = state.fit.variables
  batch: Any = batches[error.step]
  if jax.process_count() > 1:
    gather = functools.partial(multihost_utils.process_allgather, tiled=True)
    variables, batch = gather((variables, batch))
  else:
    variables, batch = jax.device_get((variables, batch))
  path = run.workdir / "diverged" / f"step_{error.step:06d}.npz"
  if processes.is_first():
    diagnosis.dump(
      path,
      config=run.config.to_dict(),
      variables=variables,
      batch=batch,
      step=error.step,
    )
  try:
    cause = diagnosis.diagnose(
      run.flow,
      run.task,
      variables,
      batch,
      seed=run.config.train.seed,
      step=error.step,
    )
  except RuntimeError as failed:  # Of too little memory, for example.
    cause = f"unknown, since the diagnosis failed ({_first_line(failed)})"
  return Diverged(
    f"{error} First not finite: {cause}; to see it again: python -m"
    f" cinn_jax.training.diagnosis {path}",
    error.step,
  )


def _first_line(error):
  return str(error).strip().partition("\n")[0]
