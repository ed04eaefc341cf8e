"""Fixtures for the tests of the launch scripts."""

import os
import signal

import pytest

from tests.support.cloud import Tpu
from tests.support.launcher import Project


@pytest.fixture
def tpu(tmp_path):
  tpu = Tpu(tmp_path)
  yield tpu
  for file in tmp_path.glob("cloud/worker-*/cinn_jax_run/pid"):
    pid = int(file.read_text())
    if os.path.exists(f"/proc/{pid}"):
      os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def project(tmp_path):
  return Project(tmp_path)
