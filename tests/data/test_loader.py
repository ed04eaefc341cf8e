"""Tests of training batches: order, crops, and shares of the processes."""

import numpy as np
import pytest

from cinn_jax.data import loader
from tests.support.loader_sources import (
  Gradients,
  Numbers,
  assert_same,
  evaluate,
  numbers,
  train,
)


def test_batches_are_contiguous_uint8():
  for size in (1, 10):
    for seed in range(3):
      (batch,) = train(Gradients(), 1, batch_size=size, seed=seed)
      image = batch["image"]
      assert image.shape == (size, 8, 8, 3) and image.dtype == np.uint8
      assert type(image) is np.ndarray and image.flags["C_CONTIGUOUS"]
    batch = evaluate(Gradients(), batch_size=size)[0]
    assert batch["image"].flags["C_CONTIGUOUS"]
    assert batch["image"].shape == (size, 8, 8, 3)


def test_a_batch_depends_only_on_seed_and_step():
  batches = train(Gradients(), 12)
  assert_same(batches, train(Gradients(), 12, num_threads=1, prefetch=1))
  assert_same(batches[7:], train(Gradients(), 5, start_step=7, num_threads=8))


def test_another_seed_gives_other_crops():
  class One(Gradients):
    def __len__(self):
      return 1

  crops = [train(One(), 1, seed=seed)[0]["image"] for seed in range(4)]
  assert len({crop.tobytes() for crop in crops}) == 4


def test_every_epoch_is_another_permutation():
  epochs = numbers(train(Numbers(), 37)).reshape(10, 37)
  for epoch in epochs:
    assert sorted(epoch) == list(range(37))
  assert len({tuple(epoch) for epoch in epochs}) == 10
  assert tuple(numbers(train(Numbers(), 4, seed=1))[:37]) != tuple(epochs[0])


def test_a_record_gets_another_crop_in_every_epoch():
  batches = train(Gradients(), 20, batch_size=5, flip=False)
  first = [b["image"][b["image"][:, 0, 0, 2] == 3][0] for b in batches]
  assert len({picture.tobytes() for picture in first}) == 20


def test_a_late_start_step_reads_no_earlier_records():
  source = Numbers()
  train(source, 1, start_step=10**9, num_threads=1, prefetch=1)
  assert len(source.read) <= 30


@pytest.mark.parametrize("count", [2, 5])
def test_processes_share_each_batch(count):
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


def test_half_of_the_crops_are_flipped():
  batches = train(Gradients(), 40, min_scale=0.9)
  images = np.concatenate([b["image"] for b in batches]).astype(int)
  mirrored = (images[:, 4, 0, 0] > images[:, 4, -1, 0]).mean()
  assert 0.4 < mirrored < 0.6
  images = np.concatenate(
    [b["image"] for b in train(Gradients(), 20, flip=False)]
  ).astype(int)
  assert (images[:, 4, 0, 0] < images[:, 4, -1, 0]).all()
  assert (images[:, 0, 4, 0] >= images[:, -1, 4, 0]).all()


def test_min_scale_1_takes_the_central_square():
  [batch] = train(Gradients(), 1, image_size=40, min_scale=1.0, flip=False)
  truth = Gradients()[0]["image"][:, 10:50, :2]
  for picture in batch["image"]:
    np.testing.assert_array_equal(picture[..., :2], truth)


def test_small_pictures_are_enlarged():
  batch = train(Numbers(size=(3, 2)), 1, image_size=32)[0]
  assert batch["image"].shape == (10, 32, 32, 3)
  batch = evaluate(Numbers(size=(1, 5)), image_size=32)[0]
  assert batch["image"].shape == (10, 32, 32, 3)


def test_other_entries_are_batched_too():
  batch = train(Numbers(label=True), 1)[0]
  np.testing.assert_array_equal(batch["label"], batch["image"][:, 0, 0, 0] * 3)
  assert batch["label"].dtype == np.int32
  last = evaluate(Numbers(label=True))[-1]
  assert last["label"].shape == (10,) and last["label"].dtype == np.int32


def test_a_single_record_is_enough():
  assert set(numbers(train(Numbers(1), 3))) == {0}


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
def test_bad_arguments_raise(options, complaint):
  options = {"image_size": 8, "batch_size": 10, "seed": 0} | options
  with pytest.raises(ValueError, match=complaint) as caught:
    loader.training_batches(Numbers(), **options)
  assert "\n" not in str(caught.value)


class Cut(Numbers):
  """Pictures whose other entries belong to them as they are."""

  is_cut = True


def test_pictures_that_are_cut_already_stay_whole():
  batches = train(Cut(size=(8, 8)), 4, min_scale=0.1, flip=True)
  plain = train(Numbers(size=(8, 8)), 4)
  for batch, expected in zip(batches, plain, strict=True):
    np.testing.assert_array_equal(batch["image"], expected["image"])
