"""Leaving a run early without losing work, and never hanging.

Exit codes of `cinn_jax.main --mode=train`: 0, the run is complete; `RESTART`,
it left early with everything saved, and the same command goes on; 130, a second
Ctrl-C; any other, an error that starting again does not cure.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time

import jax
from jax.experimental import multihost_utils

# EX_TEMPFAIL of sysexits.h: "try again later".
RESTART = 75

_FAILED = re.compile("UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_")
_OTHERWISE = re.compile("RESOURCE_EXHAUSTED|tensorstore")


class Stopped(Exception):
  """The run left early, saved: the same command goes on."""


class Stop:
  """Hears SIGTERM and Ctrl-C while it is entered.

  Before `defer`, where there is nothing to save, a signal leaves at once by
  raising `Stopped`. Afterwards it is only remembered, for `requested`. A second
  Ctrl-C always leaves at once, by KeyboardInterrupt.

  On several processes JAX's preemption service hears SIGTERM, and makes all of
  them agree on a step; Ctrl-C is passed on to it.
  """

  def __init__(self):
    self._heard = None
    self._deferred = False
    self._before = {}

  def __enter__(self):
    # Only the main thread may; in another, whoever started it stops it.
    if threading.current_thread() is threading.main_thread():
      signals = [signal.SIGINT]
      if jax.process_count() == 1:
        signals.append(signal.SIGTERM)
      self._before = {s: signal.signal(s, self._hear) for s in signals}
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def defer(self):
    """From here on there is something to save."""
    self._deferred = True

  def requested(self, step: int) -> bool:
    """Whether to save and leave after `step`; the same on all processes."""
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._heard is not None

  def check(self):
    """Raises `Stopped` where a single process was told to stop."""
    if self._heard is not None and jax.process_count() == 1:
      raise Stopped(f"{self._heard}.")

  def _hear(self, number, _):
    name = signal.Signals(number).name
    if self._heard == "SIGINT" and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._heard = name
    if not self._deferred:
      raise Stopped(f"{name} before the first step: there is nothing to save.")
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
    # Not print: the signal may have come in the middle of one.
    again = "; once more leaves at once" if number == signal.SIGINT else ""
    os.write(2, f"\n{name}: finishing the step and saving{again}.\n".encode())


class Watchdog:
  """Ends the process with `RESTART` where nothing happens for too long.

  A device or a process of a larger run that died leaves the others waiting for
  ever; what they had saved is on disk. It watches from the first `beat` on:
  preparing data may take hours.

  Args:
    minutes: without a `beat`; 0 for as long as it takes.
  """

  def __init__(self, minutes: float):
    self._seconds = 60 * minutes
    self._last = None
    self._done = threading.Event()

  def __enter__(self):
    if self._seconds:
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_):
    self._done.set()

  def beat(self):
    """Something happened."""
    self._last = time.monotonic()

  def _watch(self):
    while not self._done.wait(min(self._seconds / 10, 10)):
      if self._last is None:
        continue
      quiet = time.monotonic() - self._last
      if quiet > self._seconds:
        # The main thread waits for what will not come.
        _give_up(
          f"no step for {quiet / 60:.1f} minutes"
          " (--config.train.watchdog_minutes)"
        )


@contextlib.contextmanager
def leaving_without_peers():
  """Ends the process with `RESTART` where a computation of several fails.

  Most often another process is gone; all of them have to start again.
  """
  try:
    yield
  except Exception as error:
    lost = of_several_processes(error)
    if lost is None:
      raise
    _give_up(f"the processes lost each other ({str(lost).splitlines()[0]})")


def of_several_processes(error: BaseException) -> Exception | None:
  """The failure of what several processes do together, if one is behind it.

  Not too little memory, which starting again does not cure, nor what cannot be
  read or written.
  """
  while error is not None and jax.process_count() > 1:
    text = str(error)
    # Where a computation fails at once, JAX raises a plain ValueError.
    failed = isinstance(error, jax.errors.JaxRuntimeError) or (
      isinstance(error, ValueError) and _FAILED.match(text)
    )
    if failed and not _OTHERWISE.search(text):
      return error
    error = error.__cause__ or error.__context__
  return None


def _give_up(reason):
  print(
    f"\nError: {reason}. Start again to go on from the last checkpoint.",
    file=sys.stderr,
    flush=True,
  )
  # No clean-up can run: it would wait for those that are gone.
  os._exit(RESTART)
