"""Metrics of coloured digits: hues by hand, errors as of colorizations."""

import numpy as np
import pytest
from skimage.color import hsv2rgb

from cinn_jax.data import sources
from cinn_jax.data.color_mnist import CLUSTERS
from cinn_jax.evaluation.by_task import color_mnist, colorize

WHERE = np.arange(16).reshape(4, 4) < 8


def _plain(*degrees, saturation=0.8):
  """Returns uint8 [len(degrees), 4, 4, 3], each of one hue."""
  hues = np.asarray(degrees)[:, None, None] + np.zeros((4, 4))
  hsv = np.stack([hues / 360, np.full_like(hues, saturation), hues * 0 + 0.8])
  return np.round(255 * hsv2rgb(np.moveaxis(hsv, 0, -1))).astype(np.uint8)


def test_nearest_cluster_on_a_circle():
  # Both ends of the circle, then each centre, then both sides of borders.
  degrees = [350, 10, 359, *(mean for mean, _ in CLUSTERS), 24, 26, 331, 334]
  expected = [0, 0, 0, *range(6), 0, 1, 5, 0]
  clusters = color_mnist.nearest_cluster(_plain(*degrees), WHERE)
  assert clusters.tolist() == expected


def test_only_the_given_pixels_count():
  picture = np.where(WHERE[..., None], _plain(110)[0], _plain(235)[0])
  assert color_mnist.nearest_cluster(picture, WHERE) == 2
  assert color_mnist.nearest_cluster(picture, ~WHERE) == 4
  # No pixels and grey pixels have no hue.
  assert color_mnist.nearest_cluster(picture, WHERE & ~WHERE) == -1
  assert color_mnist.nearest_cluster(_plain(110, saturation=0)[0], WHERE) == -1


def test_chroma_is_the_weight():
  pale, vivid = _plain(110, saturation=0.1)[0], _plain(235)[0]
  picture = np.where(np.arange(16).reshape(4, 4)[..., None] < 12, pale, vivid)
  everywhere = np.ones((4, 4), bool)
  assert color_mnist.nearest_cluster(picture, everywhere) == 4


def test_values_by_hand():
  # An 8 is blue (4) on green (2). Its edge, grey 128, counts for neither.
  grey = np.array([255, 255, 128, 128, *[0] * 12], np.uint8).reshape(1, 4, 4)
  shares = grey[..., None] / 255

  def paint(digit, ground):
    mixed = shares * _plain(digit) + (1 - shares) * _plain(ground)
    return mixed.astype(np.uint8)

  truth = paint(240, 100)
  pictures = np.stack([truth, paint(240, 180), paint(50, 100), truth], axis=1)
  values = color_mnist.per_example(truth, pictures, grey, np.array([8]))
  assert set(values) == set(color_mnist.METRICS)
  assert values["foreground"].tolist() == [75.0]
  assert values["background"].tolist() == [75.0]
  assert values["single_rmse"].tolist() == [0.0]
  same = colorize.per_example(truth, pictures)
  for name in ("best_of_n_per_pixel", "variance"):
    assert values[name] == pytest.approx(same[name])


def test_true_labels_match_the_hues_and_others_do_not():
  source = sources.open_source("color_digits", "train")
  records = [source[k] for k in range(500)]
  batch = {k: np.stack([r[k] for r in records]) for k in records[0]}

  def shares(labels):
    values = color_mnist.per_example(
      truth=batch["image"],
      pictures=batch["image"][:, None],
      grey=batch["grey"][..., 0],
      labels=labels,
    )
    return values["foreground"].mean(), values["background"].mean()

  assert min(shares(batch["label"])) > 65
  assert max(shares((batch["label"] + 1) % 10)) < 15
