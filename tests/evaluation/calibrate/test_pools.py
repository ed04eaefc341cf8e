"""Numbers of pools: bands, given regions, odds and offsets, by hand."""

import numpy as np
import pytest

from cinn_jax.evaluation.calibrate import conformal, lines, odds, pool, regions
from cinn_jax.evaluation.calibrate.pool import Measured, Pool

# Pictures whose regions are all alike, and pictures whose regions differ.
N, MEMBERS = 100, 20


def _pool(values):
  """A pool of values [N, M, 8, 8] of both channels."""
  means = np.repeat(values[..., None], 2, axis=-1)
  return Pool(means, np.zeros(values.shape[:2]), ("a", "b"))


def _numbers(part):
  return {(line.of, line.name): line.measured for line in part.lines}


@pytest.mark.parametrize("alike", [True, False])
def test_the_band_knows_that_regions_depend_on_each_other(alike):
  random = np.random.default_rng(0)
  shape = (N, MEMBERS, 1, 1) if alike else (N, MEMBERS, 8, 8)
  values = np.broadcast_to(random.normal(size=shape), (N, MEMBERS, 8, 8))
  # The same noise for all members: it must not change any rank.
  values = values + 100 * random.normal(size=(N, 1, 8, 8))
  got = _numbers(regions.region_pit(_pool(values)))
  low, high = got["8x8, a", "coverage of 80%"].band
  # Binomial, of as many numbers as are independent.
  error = np.sqrt(0.8 * 0.2 / (N if alike else 64 * N))
  assert high - low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_given_regions_do_not_count():
  random = np.random.default_rng(0)
  values = random.normal(size=(N, MEMBERS, 8, 8))
  values[:, 0] += 100
  values[:, :, :4] = 5.0
  part = regions.region_pit(_pool(values))
  assert _numbers(part)["8x8, a", "bias"].value == pytest.approx(0.475)
  maps = regions.sureness(_pool(values))
  assert np.isnan(maps["a"][:4]).all()
  np.testing.assert_allclose(maps["a"][4:], -0.8)


def test_a_right_model_has_no_quarter_and_no_map_that_is_too_sure():
  """The truth is one of the members, also in the choice of the quarters."""
  random = np.random.default_rng(0)
  values = random.normal(size=(1500, 10, 8, 8))
  measured = _pool(values)
  numbers = _numbers(regions.region_pit(measured))
  for which in ("least", "less", "more", "most"):
    coverage = numbers[f"4x4, a, quarter of {which} spread", "coverage of 80%"]
    assert coverage.value == pytest.approx(0.8, abs=0.015), which
  # Of 8 members, 0.75 or 0.875 would be right, never 0.8.
  few = regions.sureness(_pool(values[:, :8]))["a"]
  assert abs(few.mean()) < 0.01


def test_equal_members_are_ranked_at_random():
  rank = pool.ranks(np.zeros((2000, 4, 1)))
  assert np.all(np.sort(rank, axis=1)[..., 0] == np.arange(4))
  counts = np.bincount(rank[:, 0, 0], minlength=4)
  assert counts.min() > 400


def test_whole_ranks_have_whole_shares():
  # Of 4 members, the quantiles are 1/8, 3/8, 5/8 and 7/8.
  np.testing.assert_allclose(
    pool.expected(4, np.array([0.1, 0.5, 0.7, 0.9])), [0, 0.5, 0.75, 1]
  )


def _colors(width, n=200, members=100):
  """A pool of colours: the truth with std 8, samples with `width` times it."""
  random = np.random.default_rng(1)
  ab = random.normal(size=(n, members, 1, 1, 2)) * 8
  ab[:, 1:] *= width
  means = np.repeat(np.repeat(ab, 8, axis=2), 8, axis=3)
  return Pool(means, np.zeros((n, members)), ("a", "b"))


@pytest.mark.parametrize("width", [1.0, 0.8])
def test_odds_of_grey(width):
  """P(chroma < 8) is 1 - exp(-1/2) for the truth, 1 - exp(-1/(2 w^2)) said."""
  frequencies = {2: np.full(10, 0.1), 4: np.full(10, 0.1)}
  numbers = _numbers(odds.color_odds(_colors(width), frequencies))
  truth, said = (1 - np.exp(-0.5 / w**2) for w in (1.0, width))
  # Smoothed by half a sample for each of ten colours.
  said = (99 * said + 0.5) / (99 + 5)
  measured = numbers["2x2", "ECE, most likely colour"]
  # At width 1, what is left is the spread of the odds over the bins.
  assert measured.value == pytest.approx(abs(truth - said), abs=0.06)
  assert (measured.value > measured.band[1]) == (width != 1.0)
  for name, value in (("Brier", 0.9), ("log", np.log(10))):
    got = numbers["2x2", f"{name} score of the training set's frequencies"]
    assert got.value == pytest.approx(value) and got.band is None
  assert numbers["2x2", "log score"].value < np.log(10)


def test_odds_by_hand():
  """The truth is blue, and both samples are grey."""
  ab = np.zeros((2, 3, 8, 8, 2))
  ab[:, 0] = [10.0, -60.0]
  ab[:, 1:, :, :, 0] += np.arange(2)[:, None, None]
  whole = Pool(ab, np.zeros((2, 3)), ("a", "b"))
  frequencies = {2: np.full(10, 0.1), 4: np.full(10, 0.1)}
  part = odds.color_odds(whole, frequencies)
  numbers = _numbers(part)
  grey, other = 2.5 / 7, 0.5 / 7
  # Bin 3 has grey, bin 0 the others, one of which came true.
  assert part.curves[0].levels[3] == pytest.approx(grey)
  assert part.curves[0].measured.value[0] == pytest.approx(1 / 9)
  ece = (grey + (1 - 9 * other)) / 10
  assert numbers["2x2", "ECE, all colours"].value == pytest.approx(ece)
  top = numbers["2x2", "ECE, most likely colour"].value
  assert top == pytest.approx(grey)
  brier = grey**2 + 8 * other**2 + (1 - other) ** 2
  assert numbers["4x4", "Brier score"].value == pytest.approx(brier)
  assert numbers["4x4", "log score"].value == pytest.approx(-np.log(other))


def test_offset_averages_over_pictures():
  """One picture with many regions weighs no more than the others."""
  scores = np.zeros((9, 4))
  scores[0] = [5.0, 6.0, 7.0, 8.0]
  counted = np.zeros((9, 4), bool)
  counted[:, 0] = counted[0] = True
  # Level 0.85 wants 0.944 of the pictures: 8 of them, and half of the first.
  assert conformal.offset(scores, counted, 0.85) == 6.0
  assert conformal.offset(scores, counted, 0.5) == 0.0
  with pytest.raises(ValueError, match="95% needs at least 19 pictures, got 9"):
    conformal.offset(scores, counted, 0.95)
  # 0.9 / 0.1 is more than 9 in floating point, and 9 pictures are enough.
  assert conformal.offset(scores, counted, 0.9) == 8.0
  with pytest.raises(ValueError, match="90% needs at least 9 pictures, got 8"):
    conformal.offset(scores[1:], counted[1:], 0.9)


def test_conformal_intervals_are_guaranteed_for_a_wrong_model():
  """On average over halves, coverage is at least the level."""
  covered = []
  for seed in range(40):
    random = np.random.default_rng(seed)
    values = random.normal(size=(60, 40, 8, 8)) ** 3
    # A shift for all regions of a picture, and samples that know nothing of it.
    values[:, 0] += 2 * random.normal(size=(60, 1, 1))
    own = values[:, :, :1, :1].reshape(60, 40, 1)
    low, high = np.quantile(own[:, 1:], [0.05, 0.95], axis=1)
    score = np.maximum(low - own[:, 0], own[:, 0] - high) / (high - low)
    q = conformal.offset(score[:30], np.ones((30, 1), bool), 0.9)
    covered.append(np.mean(score[30:] <= q))
  assert 0.89 < np.mean(covered) < 0.95


def test_a_part_survives_its_file():
  measured = Measured(
    np.array([0.25, np.nan]),
    (np.array([0.1, np.nan]), np.array([0.5, np.nan])),
  )
  part = lines.Part(
    "Title",
    [lines.Line("a", "ECE", Measured(0.3, (0.2, 0.4), (0.0, 0.1)))],
    [lines.Curve("curve", np.array([0.1, 0.9]), measured)],
  )
  again = lines.from_json(lines.as_json(part))
  assert lines.cells(again) == lines.cells(part)
  assert lines.cells(part)[1][-1] == "above"
  np.testing.assert_array_equal(again.curves[0].measured.value, measured.value)
  assert again.curves[0].measured.band is None


def test_reported_coverage_is_the_guaranteed_one():
  """It averages over pictures, of which half have one region that counts."""
  random = np.random.default_rng(0)
  values = random.normal(size=(2000, 40, 8, 8, 1))
  values[::2, 0] *= 3
  # Regions that are given are alike in all members of a pool.
  given = np.ones((8, 8), bool)
  given[:2, :2] = False
  values[1::2, :, given] = 0
  pool = Pool(values, np.zeros((2000, 40)), ("a",))
  part, _ = conformal.conformal(pool, {(4, "a"): 1.0, (8, "a"): 1.0})
  numbers = _numbers(part)
  after = numbers["8x8, a", "coverage after"]
  assert after.value == pytest.approx(0.9, abs=0.02)
  assert numbers["8x8, a", "coverage before"].value < 0.8
