"""Odds of colours: numbers, words, and their files next to the samples."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cinn_jax.images import color_names
from cinn_jax.sampling import odds
from cinn_jax.sampling.forecast import Forecast, Forecaster
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import Ranked
from cinn_jax.sampling.results import Results
from cinn_jax.sampling.subject import Subject

GREY, BLUE = color_names.NAMES.index("grey"), color_names.NAMES.index("blue")
TRAINED = SimpleNamespace(config={"task": {"name": "colorize"}}, digest="abc")
CALIBRATION = {
  "checkpoint": "abc",
  "num_samples": 3,
  "offsets": {"1": {"4x4": {c: {"0.9": 0.5} for c in ("a", "b")}}},
}


def test_shares_leave_room_for_every_colour():
  shares = odds.shares(np.array([[BLUE, GREY]] * 3 + [[GREY, GREY]]))
  assert shares.shape == (2, 10)
  np.testing.assert_allclose(shares.sum(axis=1), 1)
  assert shares[0, BLUE] == pytest.approx(3.5 / 9)
  assert shares[1, BLUE] == pytest.approx(0.5 / 9)


def test_words_leave_out_what_is_unlikely():
  shares = np.full((2, 10), 0.02)
  shares[0, BLUE], shares[0, GREY] = 0.62, 0.22
  lines = odds.in_words(shares, ["upper left", "lower right"])
  assert lines == [
    "upper left: blue 62 %, grey 22 %",
    "lower right: grey 2 %",
  ]


def test_a_central_interval_holds_another_sample_as_often_as_it_says():
  samples = np.random.default_rng(0).normal(size=(20, 20_000))
  low, high = odds.central_interval(samples[1:], 0.9)
  inside = np.mean((samples[0] >= low) & (samples[0] <= high))
  assert inside == pytest.approx(0.9, abs=0.01)


def test_intervals_are_moved_out_and_in():
  low, high = np.array([0.0]), np.array([2.0])
  assert [v.item() for v in odds.widened(low, high, 0.5)] == [-1, 3]
  assert [v.item() for v in odds.widened(low, high, -0.25)] == [0.5, 1.5]
  assert [v.item() for v in odds.widened(low, high, -9.0)] == [1, 1]


def _subject():
  """A photograph whose three samples are grey, blue and grey."""
  # In the network's units; see `tasks.colorize`.
  grey = (np.zeros(2) - [2.4, 7.4]) / [11.2, 16.8]
  blue = (np.array([10.0, -60.0]) - [2.4, 7.4]) / [11.2, 16.8]
  x = np.zeros((3, 8, 8, 2)) + np.stack([grey, blue, grey])[:, None, None]

  def draw(key, numbers, temperature):
    return x.astype(np.float32)[np.asarray(numbers) % 3], np.zeros(len(numbers))

  head = [np.zeros((10, 12, 3), np.uint8)]
  return Subject(head=head, draw=draw, dims=128, render=None)


def test_a_forecast_of_a_photograph():
  told = Forecaster(TRAINED, CALIBRATION)(_subject(), 1.0)
  assert told.words[0] == "upper left: grey 31 %, blue 19 %"
  assert len(told.content["quarters"]) == 4
  assert told.content["regions"][15]["blue"] == pytest.approx(0.1875)
  assert told.picture.dtype == np.uint8 and told.picture.std() > 5
  # From 0 to 10, and half of that on both sides.
  ends = np.array(told.content["intervals"]["a"])
  np.testing.assert_allclose(ends, np.tile([[-5, 15]], (16, 1)), atol=0.01)
  other = Forecaster(TRAINED, CALIBRATION, temperatures=[0.8])
  assert "intervals" not in other(_subject(), 0.8).content


@pytest.mark.parametrize(
  "calibration, options, reason",
  [
    (None, {}, "--mode=calibrate makes one"),
    ({**CALIBRATION, "checkpoint": "old"}, {}, "of another checkpoint"),
    (CALIBRATION, {"is_steered": True}, "without hints"),
    (CALIBRATION, {"temperatures": [1.0, 0.8]}, "not of temperature 0.8"),
    (CALIBRATION, {}, None),
  ],
)
def test_the_reason_for_no_intervals(calibration, options, reason):
  forecaster = Forecaster(TRAINED, calibration, **options)
  assert reason is None or reason in forecaster.note
  assert bool(forecaster.note) == (reason is not None)


def test_odds_are_for_colorization():
  other = SimpleNamespace(config={"task": {"name": "inpaint"}})
  with pytest.raises(ValueError, match="--odds is for colorization, not for"):
    Forecaster(other, None)


def _add(folder, item, settings, forecast):
  """Writes a sample; returns the names of all files, and if it was there."""
  results = Results(folder, settings, [], "")
  picture = np.zeros((8, 8, 3), np.uint8)
  is_done = results.finished(item)
  if not is_done:
    results.add(
      item,
      [],
      [1.0],
      Ranked(np.zeros((1, 2)), np.array([0]), np.zeros(1)),
      [([1], [picture])],
      ".png",
      lambda path, picture: path.write_bytes(picture.tobytes()),
      forecast,
    )
  results.finish()
  return {path.name for path in folder.iterdir()}, is_done


def test_the_map_is_listed_removed_and_spares_files(tmp_path):
  told = Forecast(["words"], {"words": ["w"]}, np.zeros((8, 8, 3), np.uint8))
  (tmp_path / "a_odds.png").write_bytes(b"mine")
  own = {"a_odds.png", "samples.json", "sheet.png"}
  with_odds = {*own, "a-2_1.png", "a-2_odds.png"}
  item, settings = Item("a"), {"odds": 1}
  assert _add(tmp_path, item, settings, told) == (with_odds, False)
  listed = json.loads((tmp_path / "samples.json").read_text())
  entry = listed["pictures"]["a-2"]
  assert entry["odds"] == {"file": "a-2_odds.png", "words": ["w"]}
  assert entry["files"] == ["a-2_1.png"]
  # With other settings the map goes, too.
  assert _add(tmp_path, item, {}, None) == ({*own, "a_1.png"}, False)
  assert (tmp_path / "a_odds.png").read_bytes() == b"mine"


def test_a_missing_map_is_made_again(tmp_path):
  told = Forecast([], {}, np.zeros((8, 8, 3), np.uint8))
  made = {"9_1.png", "9_odds.png", "samples.json", "sheet.png"}
  item = Item("9")
  assert _add(tmp_path, item, {}, told) == (made, False)
  (tmp_path / "9_odds.png").unlink()
  assert _add(tmp_path, item, {}, told) == (made, False)
