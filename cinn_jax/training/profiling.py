"""A trace of a few steps, for TensorBoard or Perfetto."""

import tempfile

import jax

from cinn_jax.runtime import storage

# The first steps compile and fill queues.
FIRST, LAST = 5, 8


class Profiler:
  """Traces the steps `FIRST` to `LAST` since the start into a folder.

  Args:
    folder: None for no trace.
  """

  def __init__(self, folder):
    self._folder = folder
    self._tracing = False
    self._temporary = None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._end()

  def before(self, count: int, state):
    """Before step `count` since the start, from 1; `state` is what it takes."""
    if self._folder is not None and count == FIRST:
      folder = self._folder
      if storage.in_bucket(folder):
        self._temporary = tempfile.TemporaryDirectory()
        folder = self._temporary.name
      jax.profiler.start_trace(folder, create_perfetto_trace=True)
      self._tracing = True
    elif count == LAST + 1 and self._tracing:
      # Steps are dispatched ahead: the last one may still be running.
      jax.block_until_ready(state)
      self._end()

  def _end(self):
    if self._tracing:
      jax.profiler.stop_trace()
      self._tracing = False
      if self._temporary is not None:
        storage.upload(self._temporary.name, self._folder)
        self._temporary.cleanup()
      print(f"Trace of {LAST - FIRST + 1} steps in {self._folder}.")
