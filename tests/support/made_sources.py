"""Sources made for tests of the loader, and short ways to run through them."""

import contextlib
import itertools
import threading

import numpy as np

from cinn_jax.data import loader
from cinn_jax.images import reading


class Numbers:
  """Pictures that are all of one colour: their number. Counts its readings."""

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
  """Dark on the left, bright on the right, darker towards the bottom."""

  name = "gradients"

  def __len__(self):
    return 5

  def __getitem__(self, index):
    across = np.linspace(0, 200, 60)[None, :] + np.linspace(50, 0, 40)[:, None]
    picture = np.stack([across, across, np.full_like(across, index)], -1)
    return {"image": picture.astype(np.uint8)}


def train(source, steps, **options):
  options = {"image_size": 8, "batch_size": 10, "seed": 0} | options
  with contextlib.closing(
    loader.training_batches(source, **options)
  ) as batches:
    return list(itertools.islice(batches, steps))


def evaluate(source, **options):
  options = {"image_size": 8, "batch_size": 10} | options
  return list(loader.evaluation_batches(source, **options))


def numbers(batches):
  return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])


def same(ours, theirs):
  assert len(ours) == len(theirs)
  for a, b in zip(ours, theirs, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])
