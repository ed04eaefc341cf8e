"""Batches in a fixed order: the training step is the state of the data."""

import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from absl import logging

from cinn_jax.data.base import PICTURES, Source
from cinn_jax.images import crops, reading
from cinn_jax.images.crops import height_and_width

Batch = dict[str, np.ndarray]

# So many records, drawn at random, that cannot be read are no accident.
_MAX_DAMAGED = 20


def training_batches(
  source: Source,
  *,
  image_size: int | tuple[int, int],
  batch_size: int,
  seed: int,
  min_scale: float = 0.2,
  flip: bool = True,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  num_threads: int = 0,
  prefetch: int = 0,
) -> Iterator[Batch]:
  """Endless shuffled epochs of random crops.

  Batch n depends on the arguments, `seed` and n alone. Each process gets a
  contiguous block of it, so that the blocks side by side are the batch that one
  process would get.

  A record that cannot be read is replaced by another one, at random but
  reproducibly, and logged once.

  Args:
    source: where the pictures come from.
    image_size: side of the crops, pixels, or their (H, W).
    batch_size: examples per step, of all processes together.
    seed: in [0, 2**32).
    min_scale: smallest area of a crop as a share of its picture, in (0, 1]; 1
      stands for the largest central part of the crops' shape.
    flip: mirror every other crop.
    start_step: the first batch to give; reaching it takes no time.
    process_index: this process's number, below `process_count`.
    process_count: how many processes share a batch.
    num_threads: batches made at a time; 0: two more than there are cores.
    prefetch: batches made ahead; 0: as many as threads.

  Returns:
    An iterator of batches: "image" uint8 [B / process_count, H, W, 3], and
    whatever else the records hold. Dropping it ends its threads.

  Raises:
    ValueError: an argument is wrong, in one line.
  """
  rows = _rows(batch_size, process_index, process_count)
  aspect = _aspect(image_size)
  if not 0 < min_scale <= 1:
    raise ValueError(f"min_scale is {min_scale}, expected above 0, at most 1")
  if not 0 <= seed < 2**32:
    raise ValueError(f"seed is {seed}, expected 0 or more, below 2**32")
  if start_step < 0:
    raise ValueError(f"start_step is {start_step}, expected 0 or more")
  reader = _Reader(source)
  example = _random_example(reader, image_size, aspect, seed, min_scale, flip)
  # Positions in an endless stream. grain's own shuffle takes milliseconds per
  # example where there are few.
  examples = grain.MapDataset.range(sys.maxsize).seed(seed).random_map(example)
  first = start_step * process_count + process_index
  # What is left over of an endless stream would overflow its length.
  batches = examples.batch(rows, drop_remainder=True)[first::process_count]
  return _iterate(batches, reader, num_threads, prefetch)


def evaluation_batches(
  source: Source,
  *,
  image_size: int | tuple[int, int],
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  limit: int | None = None,
  num_threads: int = 0,
  prefetch: int = 0,
) -> Iterator[Batch]:
  """A whole split once, in order: the largest central part of each picture.

  Args:
    source: where the pictures come from.
    image_size: side of the squares that they are resized to, pixels; or (H, W)
      of what they are cut and resized to.
    batch_size: examples per batch, of all processes together.
    process_index: this process's number, below `process_count`.
    process_count: how many processes share a batch.
    limit: only so many pictures, the first ones.
    num_threads: batches made at a time; 0: two more than there are cores.
    prefetch: batches made ahead; 0: as many as threads.

  Returns:
    An iterator of batches: "image" uint8 [B / process_count, H, W, 3], whatever
    else the records hold, and "mask" bool [B / process_count], false for what
    only fills the last batch and for records that cannot be read (which are
    logged). Every process gets equally many batches.
  """
  rows = _rows(batch_size, process_index, process_count)
  aspect = _aspect(image_size)
  _check(**({} if limit is None else {"limit": limit}))
  count = min(len(source), limit or len(source))
  reader = _Reader(source)

  def example(row):
    record, sound = reader.read(min(row, count - 1))
    picture = record["image"]
    box = crops.central_box(picture.shape[1], picture.shape[0], aspect)
    mask = np.bool_(sound and row < count)
    return {**_crop(record, box, image_size), "mask": mask}

  whole = -(-count // batch_size) * batch_size
  batches = grain.MapDataset.range(whole).map(example).batch(rows)
  batches = batches[process_index::process_count]
  return _iterate(batches, reader, num_threads, prefetch)


def _random_example(reader, image_size, aspect, seed, min_scale, flip):
  """A function of a position in the stream and of a generator for its crop."""
  count = len(reader.source)

  @functools.lru_cache(maxsize=4)
  def order(epoch):
    return np.random.default_rng((seed, epoch)).permutation(count)

  def example(position, generator):
    epoch, place = divmod(position, count)
    record, _ = reader.read(order(epoch)[place], generator)
    picture = record["image"]
    height, width = picture.shape[:2]
    if min_scale == 1:
      box = crops.central_box(width, height, aspect)
    else:
      box = crops.random_box(width, height, min_scale, generator, aspect)
    mirror = flip and generator.integers(2)
    return _crop(record, box, image_size, mirror=mirror)

  return example


def _aspect(image_size):
  """Width to height of the crops."""
  height, width = height_and_width(image_size)
  _check(image_size=min(height, width))
  return width / height


def _crop(record, box, size, *, mirror=False):
  """A record whose pictures are cropped alike."""
  cropped = {
    name: crops.resize(record[name], box, size)
    for name in PICTURES
    if name in record
  }
  if mirror:
    cropped = {
      name: np.ascontiguousarray(crop[:, ::-1])
      for name, crop in cropped.items()
    }
  return {**record, **cropped}


class _Reader:
  """Reads records until it is told to stop, and stands in for damaged ones."""

  def __init__(self, source: Source):
    self.source = source
    self._said = set()
    self.stopped = threading.Event()

  def read(self, index: int, generator=None) -> tuple[dict[str, Any], bool]:
    """A record, and whether it is the wanted one."""
    if self.stopped.is_set():
      raise _Stopped
    other = index
    for _ in range(_MAX_DAMAGED):
      try:
        return self.source[int(other)], bool(other == index)
      except reading.UnreadableImage as error:
        damage = str(error)
        self._say(damage)
      generator = generator or np.random.default_rng(index)
      other = generator.integers(len(self.source))
    raise ValueError(
      f"{self.source.name}: {_MAX_DAMAGED} records in a row cannot be read:"
      f" {damage}"
    )

  def _say(self, line):
    if line not in self._said:
      self._said.add(line)
      logging.warning("Left out of a batch: %s", line)


class _Stopped(Exception):
  """Ends the batches that are under way when nobody wants them any more."""


def _iterate(batches, reader, num_threads, prefetch):
  num_threads = num_threads or (os.cpu_count() or 1) + 2
  options = grain.ReadOptions(num_threads, prefetch or num_threads)
  iterator = iter(batches.to_iter_dataset(options))

  def generate():
    try:
      yield from iterator
    finally:
      reader.stopped.set()
      iterator.close()

  return generate()


def _rows(batch_size, process_index, process_count):
  """Examples per process and batch."""
  _check(batch_size=batch_size, process_count=process_count)
  if not 0 <= process_index < process_count:
    raise ValueError(
      f"process_index is {process_index}, expected 0 to {process_count - 1}"
    )
  if batch_size % process_count:
    raise ValueError(
      f"a batch of {batch_size} cannot be shared evenly by {process_count}"
      " processes: choose a multiple of their number"
    )
  return batch_size // process_count


def _check(**positive):
  for name, value in positive.items():
    if value < 1:
      raise ValueError(f"{name} is {value}, expected 1 or more")
