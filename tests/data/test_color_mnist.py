"""Tests of coloured digits: hues by class, fixed colours, matching grey."""

import numpy as np
import pytest
from skimage.color import rgb2hsv

from cinn_jax.data import color_mnist, loader, sources
from tests.support import mnist_files

# The published table, written out independently: (mean, standard deviation) in
# degrees of the foreground's and the background's hue, by digit.
HUES = {
  0: ((0, 20), (110, 30)),
  1: ((50, 10), (180, 20)),
  2: ((110, 30), (235, 25)),
  3: ((180, 20), (305, 25)),
  4: ((235, 25), (0, 20)),
  5: ((305, 25), (50, 10)),
  6: ((0, 20), (235, 25)),
  7: ((110, 30), (0, 20)),
  8: ((235, 25), (110, 30)),
  9: ((305, 25), (180, 20)),
}
COUNT = 300
# The left half is the foreground, the right one the background.
HALVES = np.repeat([255, 0], 14).astype(np.uint8) + np.zeros((28, 1), np.uint8)


def _mean_angle(hue, axis):
  """Averages hues in [0, 1) on the circle, in degrees."""
  angle = np.angle(np.mean(np.exp(2j * np.pi * hue), axis=axis), deg=True)
  return angle % 360


@pytest.fixture(scope="module")
def hsv_by_digit():
  """Colours `HALVES` as each digit; HSV [10, COUNT, 28, 28, 3]."""
  generator = np.random.default_rng(0)
  pictures = [
    [color_mnist.colorize(HALVES, digit, generator) for _ in range(COUNT)]
    for digit in range(10)
  ]
  return rgb2hsv(np.array(pictures))


@pytest.mark.parametrize("digit", range(10))
def test_hues_follow_the_clusters_of_the_digit(hsv_by_digit, digit):
  hue = hsv_by_digit[digit, ..., 0]
  for part, (centre, spread) in zip(
    (hue[:, :, :14], hue[:, :, 14:]), HUES[digit], strict=True
  ):
    # The noise has mean 0, but a blurred patch of it is some degrees off.
    angles = _mean_angle(part, axis=(1, 2))
    deviation = (angles - centre + 180) % 360 - 180
    assert abs(np.mean(deviation)) < 4 * spread / np.sqrt(COUNT)
    assert np.std(deviation) == pytest.approx(spread, rel=0.2, abs=2)


def test_the_two_hues_of_a_picture_are_independent(hsv_by_digit):
  hue = hsv_by_digit[2, ..., 0]
  first, second = (
    _mean_angle(part, (1, 2)) for part in (hue[:, :, :14], hue[:, :, 14:])
  )
  # They share only the noise of the hue, which is small.
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.25


def test_saturation_and_value_average_four_fifths(hsv_by_digit):
  _, saturation, value = np.moveaxis(hsv_by_digit, -1, 0)
  for channel in (saturation, value):
    assert np.mean(channel) == pytest.approx(0.8, abs=0.01)
  assert np.std(value) == pytest.approx(0.05, rel=0.1)
  # White noise blurred by s pixels keeps 1 / (2 s sqrt(pi)) of its height; the
  # borders, where it is reflected, keep more.
  height = 0.3 / (2 * 2.0 * np.sqrt(np.pi))
  assert height < np.std(saturation) < 1.4 * height


def test_hue_noise_is_smooth_and_value_noise_is_not(hsv_by_digit):
  def correlation(channel):
    """Returns the correlation of neighbouring pixels in the background."""
    part = channel[..., 16:]
    part = part - part.mean(axis=(-2, -1), keepdims=True)
    return np.mean(part[..., 1:] * part[..., :-1]) / np.mean(part**2)

  # Digit 1's background is at 180 degrees, so its hues do not wrap around.
  hue, saturation, value = np.moveaxis(hsv_by_digit[1], -1, 0)
  assert correlation(hue) > correlation(saturation) > 0.75
  assert abs(correlation(value)) < 0.02
  spread = np.std(hue[..., 16:] - hue[..., 16:].mean((1, 2), keepdims=True))
  height = 0.25 / (2 * 4.0 * np.sqrt(np.pi))
  assert 0.4 * height < spread < 1.4 * height


def test_edges_mix_both_colours_by_grey_level():
  def paint(level):
    grey = np.full((5, 5), level, np.uint8)
    return color_mnist.colorize(grey, 3, np.random.default_rng(7)) / 1.0

  ground, digit = paint(0), paint(255)
  assert np.abs(digit - ground).max() > 50
  expected = ground + 51 / 255 * (digit - ground)
  np.testing.assert_allclose(paint(51), expected, atol=1.01)


def test_colours_do_not_depend_on_the_reading_order():
  first, second = (sources.open_source("color_digits", "test") for _ in "ab")
  forwards = [first[k]["image"] for k in range(20)]
  backwards = [second[k]["image"] for k in reversed(range(20))][::-1]
  np.testing.assert_array_equal(forwards, backwards)
  np.testing.assert_array_equal(first[3]["image"], forwards[3])
  # The records 0, 10, 20, ... have the same class, so the same clusters.
  assert first[0]["label"] == first[10]["label"]
  grey = HALVES[:8, 10:18]
  twins = color_mnist.ColoredDigits(_Twins(grey), "test")
  assert np.any(twins[0]["image"] != twins[1]["image"])
  other = color_mnist.ColoredDigits(_Twins(grey), "train")
  assert np.any(twins[0]["image"] != other[0]["image"])


class _Twins:
  """A source of two equal records."""

  name = "twins"

  def __init__(self, grey, label=3):
    self.grey, self.label = grey, label

  def __len__(self):
    return 2

  def __getitem__(self, index):
    image = np.repeat(self.grey[..., None], 3, axis=-1)
    return {"image": image, "label": np.int32(self.label)}


@pytest.mark.parametrize("split", sources.SPLITS)
def test_splits_equal_those_of_the_grey_source(split, tmp_path):
  mnist_files.write(tmp_path)
  for name, options in (("digits", {}), ("mnist", {"path": tmp_path})):
    grey = sources.open_source(name, split, **options)
    colored = sources.open_source(f"color_{name}", split, **options)
    assert len(colored) == len(grey) and colored.name == f"coloured {grey.name}"
    for k in (0, len(grey) - 1):
      assert colored[k]["label"] == grey[k]["label"]
      np.testing.assert_array_equal(colored[k]["grey"], grey[k]["image"])
      picture = colored[k]["image"]
      assert (
        picture.dtype == np.uint8 and picture.shape == grey[k]["image"].shape
      )
      assert np.ptp(picture, axis=-1).mean() > 30
    with pytest.raises(IndexError):
      colored[len(grey)]


@pytest.mark.parametrize("options", [{}, {"min_scale": 0.3, "flip": True}])
def test_colour_and_grey_get_the_same_crop_and_flip(options):
  class Doubled:
    """A source whose grey pictures equal its pictures."""

    name = "doubled"

    def __len__(self):
      return 3

    def __getitem__(self, index):
      image = np.random.default_rng(index).integers(0, 256, (9, 12, 3), "u1")
      return {"image": image, "grey": image}

  batches = loader.training_batches(
    Doubled(), image_size=8, batch_size=16, seed=0, **options
  )
  batch = next(batches)
  batches.close()
  np.testing.assert_array_equal(batch["grey"], batch["image"])
  batch = next(loader.evaluation_batches(Doubled(), image_size=8, batch_size=3))
  assert batch["grey"].shape == (3, 8, 8, 3)
  np.testing.assert_array_equal(batch["grey"], batch["image"])


@pytest.mark.parametrize("label", [10, -1])
def test_labels_without_colours_raise(label):
  digits = _Twins(np.zeros((4, 4), np.uint8), label=label)
  with pytest.raises(ValueError, match=f"digits 0 to 9, got the label {label}"):
    color_mnist.ColoredDigits(digits, "train")[0]


def test_color_digits_with_a_path_raise():
  with pytest.raises(ValueError, match="did you mean source"):
    sources.open_source("color_digits", "train", path="/digits")
