"""What the tests of launch/tpu.sh share."""

import os
import signal

import pytest

from tests.launch.cloud import Tpu


@pytest.fixture
def tpu(tmp_path):
  tpu = Tpu(tmp_path)
  yield tpu
  for pid in tmp_path.glob("cloud/worker-*/cinn_jax_run/pid"):
    with_group = int(pid.read_text())
    if os.path.exists(f"/proc/{with_group}"):
      os.killpg(with_group, signal.SIGKILL)
