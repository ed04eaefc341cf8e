"""Real errors of JAX and TensorStore, as `stopping.lost_peer` expects them.

`lost_peer` tells a lost process from other errors by texts that neither of them
documents. If a new release changes one, a test here fails and names it; then
adapt the patterns in `cinn_jax/training/stopping.py`. The error of a process
that is really gone is in `tests/runs/test_processes.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.training import stopping
from cinn_jax.workdir.saved import Damaged
from tests.support.checkpointing import (
  files,
  ignore_reader_warnings,
  read_newest,
  save,
)


@pytest.fixture
def lost_peer(monkeypatch):
  """`stopping.lost_peer` in a run of two processes."""

  def judge(error):
    with monkeypatch.context() as patch:
      patch.setattr(jax, "process_count", lambda: 2)
      return stopping.lost_peer(error)

  return judge


def test_failed_computation_begins_with_a_status_code(lost_peer):
  def fail(_):
    raise OSError("connection closed by peer")

  @jax.jit
  def compute(x):
    return jax.pure_callback(fail, x, x)

  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    compute(jnp.zeros(3)).block_until_ready()
  assert str(caught.value).startswith("INTERNAL"), (
    "JAX no longer begins the message of a failed computation with XLA's code"
  )
  assert lost_peer(caught.value) is caught.value


def test_out_of_memory_has_its_own_status_code(lost_peer):
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jnp.zeros(2**48, np.uint8).block_until_ready()
  assert "RESOURCE_EXHAUSTED" in str(caught.value), (
    "XLA no longer has the code RESOURCE_EXHAUSTED for running out of memory"
  )
  assert lost_peer(caught.value) is None


@ignore_reader_warnings
def test_unreadable_array_names_tensorstore(tmp_path, lost_peer):
  save(tmp_path, {1: 1.0})
  for path in files(tmp_path, 1):
    if "d" in path.parts:  # the files of arrays
      path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(Damaged) as caught:
    read_newest(tmp_path)
  assert "tensorstore" in str(caught.value.__cause__), (
    "TensorStore no longer names itself in its errors"
  )
  assert lost_peer(caught.value) is None
