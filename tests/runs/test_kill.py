"""Runs that are killed and resumed end with the same bits."""

import os
import pathlib
import signal
import time

import pytest

from cinn_jax.training.train import train
from tests.benchmarks import kill_and_resume
from tests.support import tiny


def test_run_killed_while_it_saves_ends_with_the_same_bits(tmp_path):
  steps, every = kill_and_resume.STEPS, kill_and_resume.EVAL_EVERY
  config = tiny.digits(num_steps=steps, eval_every=every, log_every=1)
  train(config, tmp_path / "whole")
  expected = kill_and_resume.outcome_of(tmp_path / "whole")
  assert len(expected[1]) == steps // every
  # The processes share the programs of the tests.
  cache = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).parent
  workdir = tmp_path / "killed"
  process = kill_and_resume.start(workdir, cache)
  # The second of six steps that are saved: a folder with its number is there,
  # complete or not.
  while not list(workdir.glob(f"checkpoints/{2 * every}*")):
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  assert not list(workdir.glob(f"checkpoints/{steps}"))
  train(config, workdir)
  assert kill_and_resume.outcome_of(workdir) == expected


@pytest.mark.slow
def test_run_killed_at_a_random_moment_ends_with_the_same_bits(tmp_path):
  done = kill_and_resume.compare(tmp_path, kills=1, seed=3)
  assert done["kills"] == 1
  _, rows = kill_and_resume.outcome_of(tmp_path / "uninterrupted")
  assert len(rows) == kill_and_resume.STEPS // kill_and_resume.EVAL_EVERY
