"""The flags of `--mode=sample` become the options of `sample`."""

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from cinn_jax.sampling import hints
from cinn_jax.sampling.choice import Choice
from cinn_jax.sampling.flags import read_options
from cinn_jax.sampling.photos import Steering

DEFAULTS = {
  "inputs": [],
  "num_samples": 8,
  "choice": Choice(),
  "steering": Steering(),
  "temperatures": [1.0],
  "seed": 0,
  "degrade": False,
  "recursive": False,
  "output_format": "",
  "quality": 95,
  "odds": False,
  "denoise": False,
}


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize(
  "given, changed",
  [
    ({}, {}),
    ({"inputs": ["a", "b"]}, {"inputs": ["a", "b"]}),
    ({"num_samples": "3"}, {"num_samples": 3}),
    ({"keep": "3"}, {"choice": Choice(keep=3)}),
    # Eight times as many samples are drawn, unless a number is given.
    ({"diverse": "2"}, {"choice": Choice(diverse=2), "num_samples": 16}),
    (
      {"diverse": "2", "num_samples": "5"},
      {"choice": Choice(diverse=2), "num_samples": 5},
    ),
    ({"only": "3,5"}, {"choice": Choice(only=(3, 5))}),
    ({"preview": "true"}, {"steering": Steering(preview=True)}),
    ({"temperature": "0.5,1:0"}, {"temperatures": [0.5, [1.0, 0.0]]}),
    ({"seed": "7"}, {"seed": 7}),
    ({"degrade": "true"}, {"degrade": True}),
    ({"recursive": "true"}, {"recursive": True}),
    ({"output_format": "webp"}, {"output_format": "webp"}),
    ({"quality": "80"}, {"quality": 80}),
    ({"odds": "true"}, {"odds": True}),
    ({"denoise": "true"}, {"denoise": True}),
  ],
  ids=lambda given: "-".join(given) or "none",
)
def test_a_flag_changes_its_options_alone(given, changed):
  with flagsaver.as_parsed(**given):
    assert read_options() == {**DEFAULTS, **changed}


@pytest.mark.usefixtures("parsed")
def test_known_colours_are_read_from_their_files(tmp_path):
  point = hints.Point(3.0, 4.0, (200, 30, 40))
  hints.write(tmp_path / "hints.json", [point])
  pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / "reference.png")
  with flagsaver.as_parsed(
    hints=str(tmp_path / "hints.json"),
    reference=str(tmp_path / "reference.png"),
  ):
    options = read_options()
  steering = options.pop("steering")
  assert steering.hints == [point] and not steering.preview
  np.testing.assert_array_equal(steering.reference, pixels)
  assert {**options, "steering": Steering()} == DEFAULTS
