"""Several processes that work as one run."""

import contextlib
import importlib.util
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

# Variables that a launcher sets in each process, and how to read the number of
# processes from their values.
_CLUSTERS = {
  "SLURM_STEP_NUM_TASKS": int,
  "OMPI_COMM_WORLD_SIZE": int,
  "TPU_WORKER_HOSTNAMES": lambda names: len(names.split(",")),
}


def initialize(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Connects the processes of one run; does nothing on a single machine.

  Without arguments, processes started by Slurm, Open MPI, GKE or a TPU pod find
  each other. Call it before anything else of JAX. Afterwards only the first
  process prints.

  Args:
    coordinator: HOST:PORT of the first process, the same for all.
    num_processes: Number of processes.
    process_id: Index of this process, from 0.

  Raises:
    ValueError: if only some of the three are given, or they do not fit.
    RuntimeError: if the processes do not find each other.
  """
  if coordinator is None and num_processes is None and process_id is None:
    if _in_cluster():
      jax.distributed.initialize()
  elif coordinator is None or num_processes is None or process_id is None:
    raise ValueError(
      "--coordinator, --num_processes and --process_id go together: pass all"
      " three, or none if the cluster is detected."
    )
  elif not 0 <= process_id < num_processes:
    raise ValueError(
      f"--process_id is {process_id}, expected 0 to {num_processes - 1}."
    )
  else:
    jax.distributed.initialize(coordinator, num_processes, process_id)
  if not is_first():
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, stays open


def is_first() -> bool:
  """Tells if this process is the one that writes the run's files."""
  return jax.process_index() == 0


@contextlib.contextmanager
def outputs(folder: str | os.PathLike[str]) -> Iterator[str | os.PathLike[str]]:
  """Yields the output folder, or a temporary one if this is not the first.

  All processes compute the same results, so one of them keeps its files.
  """
  if is_first():
    yield folder
  else:
    with tempfile.TemporaryDirectory() as temporary:
      yield temporary


def agree(holds: bool) -> bool:
  """Tells if a condition holds on all processes; each of them has to call."""
  # A single process must not open a device for this.
  if not jax.distributed.is_initialized():
    return holds
  return bool(np.all(multihost_utils.process_allgather(np.asarray(holds))))


def same_number() -> int:
  """Returns a random number, the same in all processes; each has to call."""
  own = np.asarray(secrets.randbits(31), np.int32)
  return int(multihost_utils.broadcast_one_to_all(own))


def _in_cluster():
  sizes = (
    count(os.environ[name])
    for name, count in _CLUSTERS.items()
    if os.environ.get(name)
  )
  return any(size > 1 for size in sizes) or _on_cloud_tpu()


def _on_cloud_tpu():
  # A virtual machine of a pod looks like a single one until it asks.
  has_chips = os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0")
  return has_chips and importlib.util.find_spec("libtpu") is not None
