"""Batches in a fixed order: the step number is the only state of the data."""

import functools
import os
import sys
import threading
from collections.abc import Generator
from typing import Any

import grain
import numpy as np
from absl import logging

from cinn_jax.data import base
from cinn_jax.data.base import PICTURES, Source
from cinn_jax.images import crops, reading
from cinn_jax.images.crops import height_and_width

Batch = dict[str, np.ndarray]

# If this many random records in a row cannot be read, it is no accident.
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
) -> Generator[Batch, None, None]:
  """Returns batches of random crops, in endless shuffled epochs.

  Batch n depends only on the arguments and on n. Each process gets one
  contiguous block of it. The blocks of all processes, concatenated, are the
  batch that a single process would get.

  A record that cannot be read is logged once and replaced by another one, which
  is random but reproducible.

  Args:
    source: The pictures.
    image_size: Side of the crops in pixels, or their (H, W).
    batch_size: Examples per step, in all processes together.
    seed: Seed for the order and the crops, in [0, 2**32).
    min_scale: Smallest area of a crop as a fraction of its picture, in (0, 1].
      With 1 the crop is always the largest central one, as for sources that are
      cut already, see `base.is_cut`.
    flip: Mirror half of the crops, at random, unless they are cut already.
    start_step: The first batch to return; earlier ones take no time.
    process_index: Index of this process, below `process_count`.
    process_count: Number of processes that share a batch.
    num_threads: Batches prepared at a time; 0 for two more than there are
      cores.
    prefetch: Batches prepared ahead; 0 for `num_threads`.

  Returns:
    An iterator over batches: "image" uint8 [B / process_count, H, W, 3], and
    the other entries of the records. Its threads end when it is deleted.

  Raises:
    ValueError: An argument is out of range; the message is one line.
  """
  rows = _rows(batch_size, process_index, process_count)
  aspect = _aspect(image_size)
  if not 0 < min_scale <= 1:
    raise ValueError(f"min_scale is {min_scale}, expected above 0, at most 1")
  if not 0 <= seed < 2**32:
    raise ValueError(f"seed is {seed}, expected 0 or more, below 2**32")
  if start_step < 0:
    raise ValueError(f"start_step is {start_step}, expected 0 or more")
  if base.is_cut(source):
    min_scale, flip = 1.0, False
  reader = _Reader(source)
  example = _random_example(reader, image_size, aspect, seed, min_scale, flip)
  # Positions in an endless stream. We shuffle ourselves, because grain's own
  # shuffle takes milliseconds per example if there are few.
  examples = grain.MapDataset.range(sys.maxsize).seed(seed).random_map(example)
  first = start_step * process_count + process_index
  # Without drop_remainder, the length of the endless stream would overflow.
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
) -> Generator[Batch, None, None]:
  """Returns batches of a whole split, once and in order.

  Each picture is cut to its largest central part of the right shape, and
  resized.

  Args:
    source: The pictures.
    image_size: Side of the resized pictures in pixels, or their (H, W).
    batch_size: Examples per batch, in all processes together.
    process_index: Index of this process, below `process_count`.
    process_count: Number of processes that share a batch.
    limit: Number of pictures, from the first one on; None for all.
    num_threads: Batches prepared at a time; 0 for two more than there are
      cores.
    prefetch: Batches prepared ahead; 0 for `num_threads`.

  Returns:
    An iterator over batches: "image" uint8 [B / process_count, H, W, 3], the
    other entries of the records, and "mask" bool [B / process_count]. The mask
    is false for examples that only fill the last batch, and for records that
    cannot be read (which are logged). All processes get the same number of
    batches.

  Raises:
    ValueError: An argument is out of range; the message is one line.
  """
  rows = _rows(batch_size, process_index, process_count)
  aspect = _aspect(image_size)
  if limit is not None:
    _check(limit=limit)
  count = min(len(source), limit or len(source))
  reader = _Reader(source)

  def example(row):
    record, is_sound = reader.read(min(row, count - 1))
    picture = record["image"]
    box = crops.central_box(picture.shape[1], picture.shape[0], aspect)
    mask = np.bool_(is_sound and row < count)
    return {**_crop(record, box, image_size), "mask": mask}

  whole = -(-count // batch_size) * batch_size
  batches = grain.MapDataset.range(whole).map(example).batch(rows)
  batches = batches[process_index::process_count]
  return _iterate(batches, reader, num_threads, prefetch)


def _random_example(reader, image_size, aspect, seed, min_scale, flip):
  """Returns a function (position in the stream, generator) -> example."""
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
  """Returns the ratio of the crops' width to their height."""
  height, width = height_and_width(image_size)
  _check(image_size=min(height, width))
  return width / height


def _crop(record, box, size, *, mirror=False):
  """Returns a record with all of its pictures cropped in the same way."""
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
  """Reads records until it is stopped, and replaces damaged ones."""

  def __init__(self, source: Source):
    self.source = source
    self._logged: set[str] = set()
    self.stopped = threading.Event()

  def read(
    self, index: int, generator: np.random.Generator | None = None
  ) -> tuple[dict[str, Any], bool]:
    """Returns a record, and false if it replaces a damaged one."""
    if self.stopped.is_set():
      raise _Stop
    other = int(index)
    for _ in range(_MAX_DAMAGED):
      try:
        return self.source[other], bool(other == index)
      except reading.UnreadableImage as error:
        damage = str(error)
        self._log(damage)
      generator = generator or np.random.default_rng(index)
      other = int(generator.integers(len(self.source)))
    raise ValueError(
      f"{self.source.name}: {_MAX_DAMAGED} records in a row cannot be read:"
      f" {damage}"
    )

  def _log(self, line):
    if line not in self._logged:
      self._logged.add(line)
      logging.warning("Left out of a batch: %s", line)


class _Stop(Exception):
  """Ends the preparation of batches that nobody will take any more."""


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
  """Returns the number of examples per process and batch."""
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
