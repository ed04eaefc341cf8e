"""Tests of the threads that read pictures, and of their end."""

import subprocess
import sys
import threading
import time

import pytest

from cinn_jax.data import loader
from tests.support.loader_sources import Numbers, evaluate, train


def test_worker_threads_read_the_pictures():
  source = Numbers()
  train(source, 10, num_threads=3)
  evaluate(source)
  assert threading.main_thread() not in source.threads
  assert len(source.threads) > 1


def workers(others=()):
  """Returns grain's threads, except for those of other tests."""
  threads = [t for t in threading.enumerate() if t.name.startswith("grain")]
  return [t for t in threads if t not in others]


def seconds_until_no_workers(others) -> float:
  begin = time.perf_counter()
  while workers(others) and time.perf_counter() - begin < 5:
    time.sleep(0.01)
  return time.perf_counter() - begin


class Slow(Numbers):
  """A source that takes 10 ms per record."""

  def __getitem__(self, index):
    time.sleep(0.01)
    return super().__getitem__(index)


def test_deleting_the_iterator_ends_its_threads():
  others = workers()
  batches = loader.training_batches(
    Slow(), image_size=8, batch_size=200, seed=0, num_threads=4, prefetch=8
  )
  next(batches)
  assert workers(others)
  del batches
  assert seconds_until_no_workers(others) < 1  # A batch takes two seconds.


PROGRAM = """
import sys, time
from cinn_jax.data import loader
from tests.support.loader_sources import Numbers
batches = loader.training_batches(
  Numbers(), image_size=8, batch_size=64, seed=0)
assert next(batches)["image"].shape == (64, 8, 8, 3)
print("training", flush=True)
{ending}
"""


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(3)"])
def test_a_program_can_end_with_batches_in_preparation(ending):
  result = subprocess.run(
    [
      sys.executable,
      "-W",
      "error::ResourceWarning",
      "-c",
      PROGRAM.format(ending=ending),
    ],
    capture_output=True,
    text=True,
    timeout=30,
  )
  assert result.stdout == "training\n" and not result.stderr
  assert result.returncode == (3 if "3" in ending else 0)
