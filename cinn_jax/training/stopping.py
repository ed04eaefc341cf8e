"""Ending a run early without losing work, and never hanging.

Exit codes of `cinn_jax.main --mode=train`: 0, the run is complete; `RESTART`,
it ended early with everything saved, and the same command resumes it; 130, a
second Ctrl-C; any other, an error that starting again does not cure.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

# EX_TEMPFAIL of sysexits.h: "try again later".
RESTART = 75

# Texts of errors, which JAX and TensorStore do not document; see `lost_peer`.
_FAILED = re.compile("UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_")
_OTHER_CAUSE = re.compile("RESOURCE_EXHAUSTED|tensorstore")


class Stopped(Exception):
  """The run ended early and was saved; the same command resumes it."""


class Stop:
  """Listens for SIGTERM and Ctrl-C while it is entered.

  Before `defer` there is nothing to save, and a signal raises `Stopped` at
  once. After it, a signal is only remembered for `requested`. A second Ctrl-C
  always raises KeyboardInterrupt.

  In a run of several processes, JAX's preemption service handles SIGTERM and
  makes all processes agree on a step; Ctrl-C is passed on to it.
  """

  def __init__(self) -> None:
    self._signal: str | None = None
    self._deferred = False
    self._handlers: dict[signal.Signals, Any] = {}

  def __enter__(self) -> "Stop":
    # Only the main thread may set handlers. In other threads, the caller stops
    # the run.
    if threading.current_thread() is threading.main_thread():
      signals = [signal.SIGINT]
      if jax.process_count() == 1:
        signals.append(signal.SIGTERM)
      self._handlers = {s: signal.signal(s, self._handle) for s in signals}
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)

  def defer(self) -> None:
    """Makes later signals wait for the end of a step: there is work to save."""
    self._deferred = True

  def requested(self, step: int) -> bool:
    """Returns whether to stop after `step`; the same on all processes."""
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._signal is not None

  def check(self) -> None:
    """Raises `Stopped` if a single process got a signal."""
    if self._signal is not None and jax.process_count() == 1:
      raise Stopped(f"{self._signal}.")

  def _handle(self, number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    if self._signal == "SIGINT" and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._signal = name
    if not self._deferred:
      raise Stopped(f"{name} before the first step: there is nothing to save.")
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
    # Not print: the signal may have interrupted one.
    hint = " Press again to end at once." if number == signal.SIGINT else ""
    os.write(2, f"\n{name}: finishing the step and saving.{hint}\n".encode())


class Watchdog:
  """Ends the process with `RESTART` if nothing happens for too long.

  If a device or a process of a larger run dies, the others wait for it forever;
  their checkpoints are on disk. The clock starts with the first `beat`, since
  preparing the data may take hours.

  Args:
    minutes: Longest time between two beats; 0 for no limit.
  """

  def __init__(self, minutes: float):
    self._seconds = 60 * minutes
    self._last: float | None = None
    self._done = threading.Event()

  def __enter__(self) -> "Watchdog":
    if self._seconds:
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_: object) -> None:
    self._done.set()

  def beat(self) -> None:
    """Reports that the run makes progress."""
    self._last = time.monotonic()

  def _watch(self):
    while not self._done.wait(min(self._seconds / 10, 10)):
      if self._last is None:
        continue
      quiet = time.monotonic() - self._last
      if quiet > self._seconds:
        # The main thread is blocked.
        _exit_to_restart(
          f"no step for {quiet / 60:.1f} minutes"
          " (--config.train.watchdog_minutes)"
        )


@contextlib.contextmanager
def exit_without_peers() -> Iterator[None]:
  """Ends the process with `RESTART` if a computation of several fails.

  Usually another process is gone; then all of them have to start again.
  """
  try:
    yield
  except Exception as error:
    lost = lost_peer(error)
    if lost is None:
      raise
    first_line = str(lost).splitlines()[0]
    _exit_to_restart(f"the processes lost each other ({first_line})")


def lost_peer(error: BaseException) -> BaseException | None:
  """Returns the failed computation of several processes behind an error.

  Returns None if there is none. Running out of memory does not count, since
  starting again does not cure it, nor does a file that cannot be read or
  written.

  `_FAILED` are the status codes with which XLA begins a message. `_OTHER_CAUSE`
  are XLA's code for running out of memory and a word in all of TensorStore's
  messages. If these texts change, a lost process may be shown as an ordinary
  error, with exit code 1 in place of `RESTART`, or an ordinary error may start
  a run again. `tests/training/test_jax_errors.py` then says which one changed.
  """
  current: BaseException | None = error
  while current is not None and jax.process_count() > 1:
    text = str(current)
    # If a computation fails at once, JAX raises a plain ValueError.
    failed = isinstance(current, jax.errors.JaxRuntimeError) or (
      isinstance(current, ValueError) and _FAILED.match(text)
    )
    if failed and not _OTHER_CAUSE.search(text):
      return current
    current = current.__cause__ or current.__context__
  return None


def _exit_to_restart(reason):
  print(
    f"\nError: {reason}. Start again to resume from the last checkpoint.",
    file=sys.stderr,
    flush=True,
  )
  # Without clean-up: it would wait for the processes that are gone.
  os._exit(RESTART)
