"""The choice of samples: the likeliest, numbered ones, or diverse ones."""

import numpy as np
import pytest

from cinn_jax.sampling.choice import ALL, Choice, far_apart, shares
from cinn_jax.sampling.numbered import Ranked


@pytest.fixture
def ranked():
  x = np.arange(6, dtype=np.float32).reshape(6, 1)
  order = np.array([4, 2, 0, 1, 3, 5])
  return Ranked(x, order, -np.arange(6.0), first=10)


def _x(ranked):
  return np.concatenate([x for _, x in ranked.chunks(2)])[:, 0].tolist()


def _ranks(ranked):
  return [k for ranks, _ in ranked.chunks(2) for k in ranks]


def test_all_are_written(ranked):
  chosen = ALL(ranked)
  assert _x(chosen) == [4, 2, 0, 1, 3, 5] and _ranks(chosen) == [
    1,
    2,
    3,
    4,
    5,
    6,
  ]


def test_only_keeps_the_numbers_of_the_sheet(ranked):
  chosen = Choice(only=(5, 2))(ranked)
  assert _x(chosen) == [2, 3] and _ranks(chosen) == [2, 5]
  assert chosen.numbers == [12, 13]
  np.testing.assert_array_equal(chosen.log_prob, [-1, -4])


def test_keep_writes_the_likeliest(ranked):
  chosen = Choice(keep=3)(ranked)
  assert _x(chosen) == [4, 2, 0] and _ranks(chosen) == [1, 2, 3]


def test_diverse_writes_one_of_each_group():
  groups = [0.0] * 5 + [10.0] * 3 + [-7.0] * 2
  x = np.asarray(groups, np.float32)[:, None]
  x += 0.1 * np.random.default_rng(0).standard_normal(x.shape).astype("f4")
  order = np.random.default_rng(1).permutation(10)
  chosen = Choice(diverse=3)(Ranked(x, order, np.zeros(10)))
  np.testing.assert_allclose(_x(chosen), [0, 10, -7], atol=0.5)
  assert chosen.shares == [0.5, 0.3, 0.2] and _ranks(chosen) == [1, 2, 3]


def test_medoids_have_the_least_distance():
  x = np.random.default_rng(2).standard_normal((9, 3)).astype("f4")
  distance = np.linalg.norm(x[:, None] - x[None], axis=-1)

  def cost(medoids):
    return distance[:, medoids].min(1).sum()

  pairs = [[a, b] for a in range(9) for b in range(a)]
  medoids, shares = far_apart(x, 2)
  assert cost(medoids) == pytest.approx(min(map(cost, pairs)))
  assert sum(shares) == pytest.approx(1) and shares[0] >= shares[1]


def test_shares_count_the_samples_that_are_nearest():
  x = np.array([0.0, 0.1, 9.9, 10.0, 10.1, 10.2], np.float32)[:, None]
  assert shares(x, [1, 3]) == pytest.approx([2 / 6, 4 / 6])
  assert shares(x, [4, 0]) == pytest.approx([4 / 6, 2 / 6])


def test_equal_samples_all_stand_for_something():
  medoids, shares = far_apart(np.ones((4, 2)), 4)
  assert sorted(medoids) == [0, 1, 2, 3] and shares == [0.25] * 4


@pytest.mark.parametrize(
  "choice, message",
  [
    (Choice(diverse=7), "--diverse=7 of --num_samples=6: expected 1 to 6"),
    (Choice(diverse=0), "--diverse=0"),
    (Choice(only=(7,)), "--only=7 of --num_samples=6"),
    (Choice(only=(0,)), "--only=0"),
    (Choice(only=(2, 2)), "--only names a sample twice"),
    (Choice(keep=2, diverse=2), "--keep and --diverse both choose"),
    (Choice(keep=2, only=(1,)), "--keep and --only both choose"),
    (Choice(diverse=2, only=(3,)), "--only=3 of --diverse=2: expected 1 to 2"),
  ],
)
def test_bad_choices_raise(choice, message):
  with pytest.raises(ValueError, match=message):
    choice.check(6)


def test_pictures_are_compared_by_large_areas():
  noise = np.random.default_rng(3).standard_normal((6, 128, 128, 2))
  x = noise.astype(np.float32)
  x[3:] += 0.06
  medoids, shares = far_apart(x, 2)
  assert sorted(k // 3 for k in medoids) == [0, 1] and shares == [0.5, 0.5]


def test_only_chooses_among_diverse_ones(ranked):
  diverse = Choice(diverse=3)(ranked)
  chosen = Choice(diverse=3, only=(3, 1))(ranked)
  assert _ranks(chosen) == [1, 3]
  assert chosen.numbers == [diverse.numbers[0], diverse.numbers[2]]
  assert chosen.shares == [diverse.shares[0], diverse.shares[2]]
