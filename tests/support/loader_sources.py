"""Sources for tests of the loader, and functions that collect batches."""

import contextlib
import itertools
import threading

import numpy as np

from cinn_jax.data import loader
from cinn_jax.images import reading


class Numbers:
  """Pictures whose pixels all have the record's number; logs each access."""

  name = "numbers"

  def __init__(self, count=37, size=(20, 24), damaged=(), label=False):
    self.count, self.size, self.damaged = count, size, set(damaged)
    self.label = label
    self.read, self.threads = [], set()

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    assert type(index) is int and 0 <= index < self.count
    self.read.append(index)
    self.threads.add(threading.current_thread())
    if index in self.damaged:
      raise reading.UnreadableImage(f"record {index}", "worn out")
    record = {"image": np.full((*self.size, 3), index, np.uint8)}
    if self.label:
      record["label"] = np.int32(index * 3)
    return record


class Gradients:
  """Pictures that get brighter to the right, and darker to the bottom."""

  name = "gradients"

  def __len__(self):
    return 5

  def __getitem__(self, index):
    across = np.linspace(0, 200, 60)[None, :] + np.linspace(50, 0, 40)[:, None]
    picture = np.stack([across, across, np.full_like(across, index)], -1)
    return {"image": picture.astype(np.uint8)}


def train(source, steps, **options):
  """Returns the first training batches as a list."""
  options = {"image_size": 8, "batch_size": 10, "seed": 0} | options
  with contextlib.closing(
    loader.training_batches(source, **options)
  ) as batches:
    return list(itertools.islice(batches, steps))


def evaluate(source, **options):
  """Returns all evaluation batches as a list."""
  options = {"image_size": 8, "batch_size": 10} | options
  return list(loader.evaluation_batches(source, **options))


def numbers(batches):
  """Returns the record number of every example of `Numbers`."""
  return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])


def assert_same(ours, theirs):
  """Checks that two lists of batches are equal."""
  assert len(ours) == len(theirs)
  for a, b in zip(ours, theirs, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])
