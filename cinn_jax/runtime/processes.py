"""Several processes as one run: who they are, and which of them writes."""

import contextlib
import importlib.util
import os
import sys
import tempfile

import jax
import numpy as np
from jax.experimental import multihost_utils

# What a launcher tells every process it starts, and how many there are.
_CLUSTERS = {
  "SLURM_STEP_NUM_TASKS": int,
  "OMPI_COMM_WORLD_SIZE": int,
  "TPU_WORKER_HOSTNAMES": lambda names: len(names.split(",")),
}


def initialize(coordinator=None, num_processes=None, process_id=None):
  """Joins the processes of one run; on a plain machine it does nothing.

  Without arguments the processes find each other where Slurm, Open MPI, GKE or
  a TPU pod started them. Call it before anything else of JAX. Of several
  processes only the first prints.

  Args:
    coordinator: HOST:PORT of the first process, the same for all.
    num_processes, process_id: how many there are, and which this is, from 0.

  Raises:
    ValueError: where only some of the three are given, or they do not fit.
    RuntimeError: where the processes do not find each other.
  """
  given = [coordinator, num_processes, process_id]
  if any(value is not None for value in given):
    if any(value is None for value in given):
      raise ValueError(
        "--coordinator, --num_processes and --process_id go together: pass all"
        " three, or none where the cluster is detected."
      )
    if not 0 <= process_id < num_processes:
      raise ValueError(
        f"--process_id is {process_id}, expected 0 to {num_processes - 1}."
      )
    jax.distributed.initialize(*given)
  elif _in_cluster():
    jax.distributed.initialize()
  if not is_first():
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, open to the end


def is_first() -> bool:
  """Whether this process writes what a run leaves."""
  return jax.process_index() == 0


@contextlib.contextmanager
def outputs(folder):
  """Where results go; those of further processes, which are equal, nowhere."""
  if is_first():
    yield folder
  else:
    with tempfile.TemporaryDirectory() as nowhere:
      yield nowhere


def agree(holds: bool) -> bool:
  """Whether something holds on all processes; each of them has to ask."""
  # Of a single process no device is opened.
  if not jax.distributed.is_initialized():
    return holds
  return bool(np.all(multihost_utils.process_allgather(np.asarray(holds))))


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
