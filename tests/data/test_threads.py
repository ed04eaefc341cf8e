"""Who reads the pictures, and how that ends."""

import subprocess
import sys
import threading
import time

import pytest

from cinn_jax.data import loader
from tests.support.made_sources import Numbers, evaluate, train


def test_pictures_are_read_in_worker_threads():
  source = Numbers()
  train(source, 10, num_threads=3)
  evaluate(source)
  assert threading.main_thread() not in source.threads
  assert len(source.threads) > 1


def workers(others=()):
  """grain's threads, but for those of other tests."""
  found = [t for t in threading.enumerate() if t.name.startswith("grain")]
  return [t for t in found if t not in others]


def seconds_until_no_workers(others) -> float:
  begin = time.perf_counter()
  while workers(others) and time.perf_counter() - begin < 5:
    time.sleep(0.01)
  return time.perf_counter() - begin


class Slow(Numbers):
  def __getitem__(self, index):
    time.sleep(0.01)
    return super().__getitem__(index)


def test_dropping_the_iterator_ends_its_threads():
  others = workers()
  batches = loader.training_batches(
    Slow(), image_size=8, batch_size=200, seed=0, num_threads=4, prefetch=8
  )
  next(batches)
  assert workers(others)
  del batches
  assert seconds_until_no_workers(others) < 1  # A batch alone takes two.


LEFT_RUNNING = """
import sys, time
from cinn_jax.data import loader
from tests.support.made_sources import Numbers
batches = loader.training_batches(
  Numbers(), image_size=8, batch_size=64, seed=0)
assert next(batches)["image"].shape == (64, 8, 8, 3)
print("training", flush=True)
{ending}
"""


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(3)"])
def test_a_program_ends_with_batches_under_way(ending):
  done = subprocess.run(
    [sys.executable, "-W", "error::ResourceWarning", "-c"]
    + [LEFT_RUNNING.format(ending=ending)],
    capture_output=True,
    text=True,
    timeout=30,
  )
  assert done.stdout == "training\n" and not done.stderr
  assert done.returncode == (3 if "3" in ending else 0)
