"""Evaluation batches, and records that cannot be read in either kind."""

import numpy as np
import pytest

from cinn_jax.data import loader
from tests.support.made_sources import (
  Gradients,
  Numbers,
  evaluate,
  numbers,
  same,
  train,
)


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
