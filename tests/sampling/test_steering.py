"""Hints, references and previews steer the colours of photographs."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from cinn_jax.images import reading
from cinn_jax.sampling import reference
from cinn_jax.sampling.choice import Choice
from cinn_jax.sampling.hints import Point
from cinn_jax.sampling.photos import Steering
from cinn_jax.sampling.sample import sample
from tests.support import pyramids, tiny, untrained

BLUE = (20, 60, 200)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A tiny pyramid that takes hints; its parameters are random."""
  path = tmp_path_factory.mktemp("run") / "run.safetensors"
  config = pyramids.small_photographs(features="")
  untrained.write_file(config, path, scale=0.1)
  return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
  path = tmp_path_factory.mktemp("photo") / "cat.png"
  Image.fromarray(data.chelsea()).save(path)
  return str(path)


def _draw(run, photo, folder, **options):
  failed = sample(run, folder, inputs=[photo], num_samples=2, **options)
  entry = json.loads((folder / "samples.json").read_text())["pictures"]
  files = [file for row in entry.values() for file in row["files"]]
  return failed, [np.asarray(Image.open(folder / file)) for file in files]


def _largest_change(one, other):
  """Returns the largest difference of two pictures, which rounding is not."""
  return np.abs(one.astype(int) - other).max()


@pytest.mark.slow
def test_a_hint_changes_the_samples(run, photo, tmp_path):
  _, plain = _draw(run, photo, tmp_path)
  _, same = _draw(run, photo, tmp_path, steering=Steering())
  known = Steering(hints=[Point(200, 150, BLUE)])
  _, hinted = _draw(run, photo, tmp_path, steering=known)
  np.testing.assert_array_equal(plain, same)
  assert plain[0].shape == hinted[0].shape == (300, 451, 3)
  assert _largest_change(plain[0], hinted[0]) > 10


def test_a_hint_outside_fails_that_photograph(run, photo, tmp_path):
  known = Steering(hints=[Point(900, 10, BLUE)])
  failed, _ = _draw(run, photo, tmp_path, steering=known)
  assert "outside of the photograph of 451x300" in failed[photo]


def test_previews_are_small_and_chosen_ones_whole(run, tmp_path):
  path = tmp_path / "wide.png"
  Image.fromarray(data.chelsea()).resize((1000, 400)).save(path)
  out = tmp_path / "out"
  small = Steering(preview=True)
  sample(run, out, inputs=[str(path)], num_samples=2, steering=small)
  previews = [reading.decode(out / f"preview/wide_{k}.png") for k in (1, 2)]
  assert [p.shape for p in previews] == [(205, 512, 3)] * 2
  _, chosen = _draw(run, str(path), out, choice=Choice(only=(2,)))
  assert [p.shape for p in chosen] == [(400, 1000, 3)]
  assert (out / "wide_2.png").exists() and not (out / "wide_1.png").exists()
  # Others can still be chosen from them.
  assert (out / "preview" / "wide_1.png").exists()


def test_runs_without_hints_refuse_them(photo, tmp_path):
  run = tmp_path / "run.safetensors"
  untrained.write_file(tiny.photos(), run)
  known = Steering(hints=[Point(1, 1, BLUE)])
  with pytest.raises(ValueError, match="was trained without hints"):
    _draw(run, photo, tmp_path / "out", steering=known)


def test_other_tasks_refuse_them(tmp_path):
  run = tmp_path / "run.safetensors"
  untrained.write_file(tiny.digits(), run)
  with pytest.raises(ValueError, match="for colorization, not for class_cond"):
    sample(run, tmp_path / "o", steering=Steering(preview=True))


@pytest.mark.slow
def test_a_reference_gives_a_picture_its_own_colours():
  cat = data.chelsea()
  points = reference.match(cat, cat)
  assert 8 <= len(points) <= 16
  for point in points:
    rows = slice(max(int(point.y) - 5, 0), int(point.y) + 5)
    columns = slice(max(int(point.x) - 7, 0), int(point.x) + 7)
    mean = cat[rows, columns].mean((0, 1))
    assert np.abs(mean - point.color).max() < 25


@pytest.mark.slow
def test_a_reference_changes_the_samples(run, photo, tmp_path, capsys):
  given = Steering(reference=data.coffee())
  _, steered = _draw(run, photo, tmp_path, steering=given)
  _, plain = _draw(run, photo, tmp_path)
  assert _largest_change(plain[0], steered[0]) > 10
  assert "hints" in capsys.readouterr().out
