"""Hints: from a file to a map of cells, in the task's units."""

import json

import numpy as np
import pytest

from cinn_jax.images import color
from cinn_jax.sampling import hints
from cinn_jax.sampling.hints import Point
from cinn_jax.tasks.colorize import AB_OFFSETS, AB_SCALES

RED = (200, 30, 40)


def _write(tmp_path, content):
  path = tmp_path / "hints.json"
  path.write_text(json.dumps(content))
  return path


def test_points_of_all_photographs(tmp_path):
  path = _write(
    tmp_path,
    [
      {"x": 1, "y": 2.5, "color": list(RED)},
      {"x": 3, "y": 4, "color": "#c81e28", "radius": 5},
    ],
  )
  read = hints.read(path)
  assert read == [Point(1, 2.5, RED), Point(3, 4, RED, 5)]
  assert hints.of_photo(read, "a/b.jpg") == read


def test_points_of_each_photograph(tmp_path):
  point = {"x": 1, "y": 2, "color": list(RED)}
  read = hints.read(_write(tmp_path, {"b.jpg": [point], "c.jpg": []}))
  assert hints.of_photo(read, "a/b.jpg") == [Point(1, 2, RED)]
  assert not hints.of_photo(read, "a/c.jpg")
  assert not hints.of_photo(read, "a/d.jpg")


@pytest.mark.parametrize(
  "content, message",
  [
    (3, "expected a list of points, got 3"),
    ([3], r"point 1 is 3 .*expected x, y and color"),
    ([{"x": 1, "y": 2}], "point 1 .*'color'"),
    ([{"x": "a", "y": 2, "color": [1, 2, 3]}], "point 1 .*could not convert"),
    ([{"x": True, "y": 2, "color": [1, 2, 3]}], "point 1 .*not a number"),
    ([{"x": float("nan"), "y": 2, "color": [1, 2, 3]}], "not a number"),
    ([{"x": 1, "y": 2, "color": [1, 2, 300]}], "levels from 0 to 255"),
    ([{"x": 1, "y": 2, "color": [0.8, 0.2, 0.1]}], "three whole levels"),
    ([{"x": 1, "y": 2, "color": [1e400, 2, 3]}], "infinity"),
    ([{"x": 1, "y": 2, "color": [1, 2]}], "not enough values"),
    ([{"x": 1, "y": 2, "color": "reddish"}], "reddish"),
    ([{"x": 1, "y": 2, "color": "red", "radus": 5}], "unknown 'radus'"),
    ([{"x": 1, "y": 2, "color": "red", "radius": -5}], "0 or more"),
    ({"a.jpg": 1}, "a.jpg: expected a list"),
  ],
)
def test_files_without_hints_raise(content, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    hints.read(_write(tmp_path, content))


def test_other_files_raise(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no file of hints .*a\.json"):
    hints.read(tmp_path / "a.json")
  with pytest.raises(FileNotFoundError, match="no file of hints"):
    hints.read(tmp_path)
  (tmp_path / "b.json").write_text("[")
  with pytest.raises(ValueError, match=r"b\.json is not JSON"):
    hints.read(tmp_path / "b.json")


def test_a_point_colours_the_cell_below_it():
  # 8 rows of 10 pixels and 8 columns of 20.
  found = hints.to_map([Point(x=45, y=79, color=RED)], (80, 160), 8)
  assert np.argwhere(found[..., 2]).tolist() == [[7, 2]]
  lab = color.srgb_to_lab(np.asarray([RED], np.float32) / 255)[0]
  expected = (np.asarray(lab[1:]) - AB_OFFSETS) / AB_SCALES
  np.testing.assert_allclose(found[7, 2, :2], expected, rtol=1e-5)
  assert not found[..., :2][found[..., 2] == 0].any()


def test_a_radius_covers_more_cells():
  found = hints.to_map([Point(40, 40, RED, radius=11)], (80, 80), 8)
  assert np.argwhere(found[..., 2]).tolist() == [
    *([3, 3], [3, 4], [4, 3], [4, 4])
  ]


def test_points_that_meet_are_averaged():
  one, other = Point(1, 1, RED), Point(2, 2, (10, 90, 200))
  both = hints.to_map([one, other], (8, 8), 2)
  single = [hints.to_map([point], (8, 8), 2) for point in (one, other)]
  np.testing.assert_allclose(both, np.mean(single, 0), rtol=1e-5)


@pytest.mark.parametrize("x, y", [(160, 5), (5, 80), (-1, 5)])
def test_a_point_outside_raises(x, y):
  with pytest.raises(ValueError, match="outside of the photograph of 160x80"):
    hints.to_map([Point(x, y, RED)], (80, 160), 8)


def test_hints_for_no_photograph_are_named(capsys):
  known = {"a.jpg": (), "/b/c.jpg": (), "d.jpeg": ()}
  hints.check_names(known, ["x/a.jpg", "/b/c.jpg", "d.jpeg"])
  hints.check_names((), ["x/a.jpg"])
  assert not capsys.readouterr().out
  # An album may have one file of hints.
  hints.check_names(known, ["x/a.jpg"])
  text = "points for '/b/c.jpg' and 1 more, not among --inputs"
  assert text in capsys.readouterr().out
  with pytest.raises(ValueError, match=r"'a\.jpg' and 2 .* such as 'a\.jpeg'"):
    hints.check_names(known, ["x/a.jpeg"])
