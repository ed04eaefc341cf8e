"""Tests of evaluation batches, and of damaged records in all batches."""

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


def test_bad_arguments_raise():
  for options, complaint in (
    ({"batch_size": 9, "process_count": 2}, "batch of 9"),
    ({"batch_size": 8, "limit": 0}, "limit is 0"),
  ):
    with pytest.raises(ValueError, match=complaint):
      loader.evaluation_batches(Numbers(), image_size=8, **options)


def test_the_whole_split_comes_once_and_in_order():
  batches = evaluate(Numbers())
  assert [len(b["image"]) for b in batches] == [10] * 4
  mask = np.concatenate([b["mask"] for b in batches])
  assert mask.dtype == bool and mask.tolist() == [True] * 37 + [False] * 3
  assert numbers(batches)[mask].tolist() == list(range(37))
  assert_same(batches, evaluate(Numbers(), num_threads=1))


def test_limit_takes_the_first_pictures():
  batches = evaluate(Numbers(), limit=12)
  mask = np.concatenate([b["mask"] for b in batches])
  assert numbers(batches)[mask].tolist() == list(range(12))
  masks = [b["mask"] for b in evaluate(Numbers(), limit=99)]
  assert np.concatenate(masks).sum() == 37


def test_processes_share_each_batch():
  whole = evaluate(Numbers(label=True), limit=13)
  shares = [
    evaluate(Numbers(label=True), limit=13, process_index=i, process_count=5)
    for i in range(5)
  ]
  for step, batch in enumerate(whole):
    for key in batch:
      parts = [share[step][key] for share in shares]
      np.testing.assert_array_equal(np.concatenate(parts), batch[key])


def test_pictures_are_cut_to_the_central_square():
  picture = evaluate(Gradients(), image_size=40, batch_size=5)[0]["image"][0]
  truth = Gradients()[0]["image"][:, 10:50]
  np.testing.assert_array_equal(picture, truth)


def test_damaged_records_are_replaced_and_logged_once(caplog):
  batches = train(Numbers(damaged=[3, 11]), 12)
  actual, undamaged = numbers(batches), numbers(train(Numbers(), 12))
  assert not {3, 11} & set(actual)
  others = ~np.isin(undamaged, [3, 11])
  np.testing.assert_array_equal(actual[others], undamaged[others])
  assert_same(batches, train(Numbers(damaged=[3, 11]), 12))
  lines = [
    r.getMessage() for r in caplog.records if "record 3" in r.getMessage()
  ]
  assert lines[0] == "Left out of a batch: record 3: worn out"
  assert len(lines) == 2  # Once per run.


def test_damaged_records_are_masked(caplog):
  batches = evaluate(Numbers(damaged=range(5, 30)))
  assert_same(batches, evaluate(Numbers(damaged=range(5, 30))))
  mask = np.concatenate([b["mask"] for b in batches])
  expected = [not 5 <= i < 30 for i in range(37)] + [False] * 3
  assert mask.tolist() == expected
  assert numbers(batches)[mask].tolist() == [*range(5), *range(30, 37)]


def test_a_source_of_damaged_records_raises(caplog):
  for run in (lambda s: train(s, 1), evaluate):
    with pytest.raises(
      ValueError, match="numbers: 20 records in a row"
    ) as caught:
      run(Numbers(damaged=range(37)))
    assert "worn out" in str(caught.value) and "\n" not in str(caught.value)
