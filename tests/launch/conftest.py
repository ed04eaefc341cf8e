"""What the tests of the launch scripts share."""

import os
import signal
import subprocess

import pytest

from tests.support.cloud import Tpu
from tests.support.launcher import Launcher


@pytest.fixture
def tpu(tmp_path):
  tpu = Tpu(tmp_path)
  yield tpu
  for pid in tmp_path.glob("cloud/worker-*/cinn_jax_run/pid"):
    with_group = int(pid.read_text())
    if os.path.exists(f"/proc/{with_group}"):
      os.killpg(with_group, signal.SIGKILL)


@pytest.fixture
def launcher(tmp_path):
  return Launcher(tmp_path)


@pytest.fixture
def dead():
  """The number of a process that is no more."""
  process = subprocess.Popen(["true"])
  process.wait()
  return process.pid
