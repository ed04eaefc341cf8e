"""A trace of a few training steps, for TensorBoard or Perfetto."""

import tempfile
from typing import Any

import jax

from cinn_jax.bijections.base import PyTree
from cinn_jax.runtime import storage

# Compilation and filling queues disturb the first few steps.
FIRST, LAST = 5, 8


class Profiler:
  """Traces steps `FIRST` to `LAST`, counted from the start, into a folder.

  Args:
    folder: Path of the trace, from `storage.path`, or None for no trace.
  """

  def __init__(self, folder: Any):
    if folder is not None and jax.process_count() > 1:
      # JAX finds its own file by the folder.
      folder = folder / f"process_{jax.process_index()}"
    self._folder = folder
    self._tracing, self._steps = False, 0
    self._temporary: tempfile.TemporaryDirectory | None = None

  def __enter__(self) -> "Profiler":
    return self

  def __exit__(self, *_: object) -> None:
    self._end()

  def before(self, count: int, state: PyTree) -> None:
    """Starts or ends the trace as needed; call it before each step.

    Args:
      count: Number of the step since the start; the first one is 1.
      state: The state that the step takes.
    """
    if self._folder is not None and count == FIRST:
      folder = self._folder
      if storage.in_bucket(folder):
        self._temporary = tempfile.TemporaryDirectory()
        folder = self._temporary.name
      jax.profiler.start_trace(folder, create_perfetto_trace=True)
      self._tracing = True
    if self._tracing and count <= LAST:
      self._steps += 1
    elif self._tracing:
      # Steps are dispatched ahead: the last one may still be running.
      jax.block_until_ready(state)
      self._end()

  def _end(self):
    if self._tracing:
      # Before it stops, since an error would make `__exit__` stop it again.
      self._tracing = False
      jax.profiler.stop_trace()
      if self._temporary is not None:
        storage.upload(self._temporary.name, self._folder)
        self._temporary.cleanup()
      print(f"Trace of {self._steps} steps in {self._folder}.")
    elif self._folder is not None and not self._steps:
      print(f"No trace: the run ended before its step {FIRST}.")
