"""The order of the data, its shares, its threads and its accidents."""

import contextlib
import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cinn_jax.data import images, loader


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
      raise images.UnreadableImage(f"record {index}", "worn out")
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


def test_batches_are_contiguous_bytes():
  for size in (1, 10):
    for seed in range(3):
      (batch,) = train(Gradients(), 1, batch_size=size, seed=seed)
      image = batch["image"]
      assert image.shape == (size, 8, 8, 3) and image.dtype == np.uint8
      assert type(image) is np.ndarray and image.flags["C_CONTIGUOUS"]
    batch = evaluate(Gradients(), batch_size=size)[0]
    assert batch["image"].flags["C_CONTIGUOUS"]
    assert batch["image"].shape == (size, 8, 8, 3)


def test_a_batch_depends_on_seed_and_step_alone():
  batches = train(Gradients(), 12)
  same(batches, train(Gradients(), 12, num_threads=1, prefetch=1))
  same(batches[7:], train(Gradients(), 5, start_step=7, num_threads=8))


def test_another_seed_crops_otherwise():
  class One(Gradients):
    def __len__(self):
      return 1

  crops = [train(One(), 1, seed=seed)[0]["image"] for seed in range(4)]
  assert len({crop.tobytes() for crop in crops}) == 4


def test_every_epoch_has_every_record_once_in_another_order():
  seen = numbers(train(Numbers(), 37))
  epochs = seen.reshape(10, 37)
  for epoch in epochs:
    assert sorted(epoch) == list(range(37))
  assert len({tuple(epoch) for epoch in epochs}) == 10
  assert tuple(numbers(train(Numbers(), 4, seed=1))[:37]) != tuple(epochs[0])


def test_a_record_is_cropped_anew_in_every_epoch():
  batches = train(Gradients(), 20, batch_size=5, flip=False)
  first = [b["image"][b["image"][:, 0, 0, 2] == 3][0] for b in batches]
  assert len({picture.tobytes() for picture in first}) == 20


def test_seeking_reads_nothing_on_the_way():
  source = Numbers()
  begin = time.perf_counter()
  train(source, 1, start_step=10**9, num_threads=1, prefetch=1)
  assert time.perf_counter() - begin < 2
  assert len(source.read) <= 30


@pytest.mark.parametrize("count", [2, 5])
def test_processes_share_the_batch_that_one_would_get(count):
  options = {"start_step": 3, "batch_size": 20}
  whole = train(Gradients(), 4, **options)
  shares = [
    train(Gradients(), 4, process_index=i, process_count=count, **options)
    for i in range(count)
  ]
  for step, batch in enumerate(whole):
    parts = [share[step]["image"] for share in shares]
    assert all(len(part) == 20 // count for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts), batch["image"])


def test_flips_are_half_and_only_where_asked():
  batches = train(Gradients(), 40, min_scale=0.9)
  images = np.concatenate([b["image"] for b in batches]).astype(int)
  mirrored = (images[:, 4, 0, 0] > images[:, 4, -1, 0]).mean()
  assert 0.4 < mirrored < 0.6
  images = np.concatenate(
    [b["image"] for b in train(Gradients(), 20, flip=False)]
  ).astype(int)
  assert (images[:, 4, 0, 0] < images[:, 4, -1, 0]).all()
  assert (images[:, 0, 4, 0] >= images[:, -1, 4, 0]).all()


def test_small_pictures_are_enlarged():
  batch = train(Numbers(size=(3, 2)), 1, image_size=32)[0]
  assert batch["image"].shape == (10, 32, 32, 3)
  assert evaluate(Numbers(size=(1, 5)), image_size=32)[0]["image"].shape == (
    *(10, 32, 32, 3),
  )


def test_other_entries_come_along():
  batch = train(Numbers(label=True), 1)[0]
  np.testing.assert_array_equal(batch["label"], batch["image"][:, 0, 0, 0] * 3)
  assert batch["label"].dtype == np.int32
  last = evaluate(Numbers(label=True))[-1]
  assert last["label"].shape == (10,) and last["label"].dtype == np.int32


def test_one_record_is_enough():
  assert set(numbers(train(Numbers(1), 3))) == {0}


def test_pictures_are_read_in_worker_threads():
  source = Numbers()
  train(source, 10, num_threads=3)
  evaluate(source)
  assert threading.main_thread() not in source.threads
  assert len(source.threads) > 1


@pytest.mark.parametrize(
  "options, complaint",
  [
    ({"batch_size": 10, "process_count": 4}, "batch of 10 .* 4 processes"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"image_size": 0}, "image_size is 0"),
    ({"process_count": 2, "process_index": 2}, "process_index is 2"),
    ({"process_count": 0}, "process_count is 0"),
    ({"min_scale": 0}, "min_scale is 0"),
    ({"min_scale": 1.5}, "min_scale is 1.5"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 2**32}, "seed is 4294967296"),
    ({"start_step": -1}, "start_step is -1"),
  ],
)
def test_wrong_arguments_are_told_at_once(options, complaint):
  options = {"image_size": 8, "batch_size": 10, "seed": 0} | options
  with pytest.raises(ValueError, match=complaint) as caught:
    loader.training_batches(Numbers(), **options)
  assert "\n" not in str(caught.value)


def test_wrong_arguments_of_evaluation():
  for options, complaint in (
    ({"batch_size": 9, "process_count": 2}, "batch of 9"),
    ({"batch_size": 8, "limit": 0}, "limit is 0"),
  ):
    with pytest.raises(ValueError, match=complaint):
      loader.evaluation_batches(Numbers(), image_size=8, **options)


def test_evaluation_is_the_whole_split_once_in_order():
  batches = evaluate(Numbers())
  assert [len(b["image"]) for b in batches] == [10] * 4
  mask = np.concatenate([b["mask"] for b in batches])
  assert mask.dtype == bool and mask.tolist() == [True] * 37 + [False] * 3
  assert numbers(batches)[mask].tolist() == list(range(37))
  same(batches, evaluate(Numbers(), num_threads=1))


def test_evaluation_of_the_first_few():
  batches = evaluate(Numbers(), limit=12)
  mask = np.concatenate([b["mask"] for b in batches])
  assert numbers(batches)[mask].tolist() == list(range(12))
  assert (
    np.concatenate([b["mask"] for b in evaluate(Numbers(), limit=99)]).sum()
    == 37
  )


def test_evaluation_is_shared_like_training():
  whole = evaluate(Numbers(label=True), limit=13)
  shares = [
    evaluate(Numbers(label=True), limit=13, process_index=i, process_count=5)
    for i in range(5)
  ]
  for step, batch in enumerate(whole):
    for key in batch:
      parts = [share[step][key] for share in shares]
      np.testing.assert_array_equal(np.concatenate(parts), batch[key])


def test_evaluation_shows_the_central_square():
  picture = evaluate(Gradients(), image_size=40, batch_size=5)[0]["image"][0]
  truth = Gradients()[0]["image"][:, 10:50]
  np.testing.assert_array_equal(picture, truth)


def test_damaged_records_are_replaced_and_logged_once(caplog):
  damaged = Numbers(damaged=[3, 11])
  batches = train(damaged, 12)
  seen, sound = numbers(batches), numbers(train(Numbers(), 12))
  assert not {3, 11} & set(seen)
  kept = ~np.isin(sound, [3, 11])
  np.testing.assert_array_equal(seen[kept], sound[kept])
  same(batches, train(Numbers(damaged=[3, 11]), 12))
  lines = [
    r.getMessage() for r in caplog.records if "record 3" in r.getMessage()
  ]
  assert lines[0] == "Left out of a batch: record 3: worn out"
  assert len(lines) == 2  # Once per run.


def test_damaged_records_are_masked_in_evaluation(caplog):
  batches = evaluate(Numbers(damaged=range(5, 30)))
  same(batches, evaluate(Numbers(damaged=range(5, 30))))
  mask = np.concatenate([b["mask"] for b in batches])
  expected = [not 5 <= i < 30 for i in range(37)] + [False] * 3
  assert mask.tolist() == expected
  assert numbers(batches)[mask].tolist() == [*range(5), *range(30, 37)]


def test_nothing_but_damage_is_one_line(caplog):
  for run in (lambda s: train(s, 1), evaluate):
    with pytest.raises(
      ValueError, match="numbers: 20 records in a row"
    ) as caught:
      run(Numbers(damaged=range(37)))
    assert "worn out" in str(caught.value) and "\n" not in str(caught.value)


def workers():
  return [t for t in threading.enumerate() if t.name.startswith("grain")]


def seconds_until_no_workers() -> float:
  begin = time.perf_counter()
  while workers() and time.perf_counter() - begin < 5:
    time.sleep(0.01)
  return time.perf_counter() - begin


class Slow(Numbers):
  def __getitem__(self, index):
    time.sleep(0.01)
    return super().__getitem__(index)


def test_dropping_the_iterator_ends_its_threads():
  seconds_until_no_workers()
  batches = loader.training_batches(
    Slow(), image_size=8, batch_size=200, seed=0, num_threads=4, prefetch=8
  )
  next(batches)
  assert workers()
  del batches
  assert seconds_until_no_workers() < 1  # A batch alone takes two.


LEFT_RUNNING = """
import sys, time
from cinn_jax.data import loader
from tests.data.test_loader import Numbers
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
