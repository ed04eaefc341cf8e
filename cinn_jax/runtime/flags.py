"""Flags for the machine: its processes and the cache of compiled programs.

Imports no JAX, so that --help is quick.
"""

from absl import flags

_CACHE = flags.DEFINE_string(
  "compilation_cache",
  "~/.cache/cinn_jax",
  "Folder that keeps compiled programs for the next start; empty: none.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of the first of several processes."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "With --coordinator: the number of processes."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "With --coordinator: this process's number, from 0."
)


def prepare(keep_memory: bool) -> None:
  """Sets the machine up as the flags say, before anything else of JAX.

  Args:
    keep_memory: Keeps freed memory for the next step; for long work.
  """
  from cinn_jax.runtime import compilation_cache, host_memory, processes

  compilation_cache.keep(_CACHE.value)
  if keep_memory:
    host_memory.keep_freed_memory()
  processes.initialize(
    _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  )
