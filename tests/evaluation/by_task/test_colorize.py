"""Errors of colorizations: per image, over a split, against references."""

import numpy as np
import pytest
import skimage.color

from cinn_jax.evaluation.by_task import colorize
from cinn_jax.evaluation.metrics import cinn_protocol, splits


def pictures(images, draws=2, size=6, seed=0):
  rng = np.random.default_rng(seed)
  truth = rng.random((images, size, size, 3), np.float32)
  return truth, rng.random((images, draws, size, size, 3), np.float32)


def grey_of(truth):
  lab = skimage.color.rgb2lab(truth)
  lab[..., 1:] = 0
  return skimage.color.lab2rgb(lab).clip(0, 1)


def test_per_example_gives_every_metric():
  truth, samples = pictures(3)
  got = colorize.per_example(truth, samples)
  squared = cinn_protocol.squared_error(truth, samples)
  mean, largest = cinn_protocol.lightness_error(truth, samples)
  want = {
    "single_rmse": cinn_protocol.single_rmse(squared),
    "mean_rmse": cinn_protocol.mean_rmse(squared),
    "best_of_n_per_image": cinn_protocol.best_of_n_per_image(squared),
    "best_of_n_per_image_pooled": cinn_protocol.best_of_n_per_image(squared),
    "best_of_n_per_pixel": cinn_protocol.best_of_n_per_pixel(squared),
    "variance": cinn_protocol.variance(samples),
    "lightness_error_mean": mean,
    "lightness_error_max": largest,
  }
  assert list(got) == list(want) == list(colorize.METRICS)
  for name in want:
    np.testing.assert_allclose(got[name], want[name], rtol=1e-12, err_msg=name)
  # No two definitions agree on these pictures, save the pooled one per image.
  values = [
    got[name][0] for name in want if name != "best_of_n_per_image_pooled"
  ]
  assert len(set(values)) == len(values)


def _row(batches, mark="ours", seed=0, **options):
  method = colorize.Method(mark, **options)
  for batch in batches:
    method.add(*batch)
  return method.row(seed)


def test_evaluate_a_split_with_a_padded_batch():
  truth, samples = pictures(5)
  padded = [np.full_like(a[:3], np.nan) for a in (truth, samples)]
  padded[0][:2], padded[1][:2] = truth[3:], samples[3:]
  batches = [(truth[:3], samples[:3], None), (*padded, [1, 1, 0])]
  row = _row(batches, mark="reference", seed=4)
  assert (row.mark, row.images, row.samples) == ("reference", 5, 2)
  values = colorize.per_example(truth, samples)
  best, largest = values["best_of_n_per_image"], values["lightness_error_max"]
  assert row.metrics["best_of_n_per_image"] == (
    np.mean(best),
    splits.bootstrap_error(best, seed=4),
  )
  pooled = 100 * np.sqrt(np.mean(np.square(best / 100)))
  assert row.metrics["best_of_n_per_image_pooled"][0] == pytest.approx(pooled)
  assert row.metrics["lightness_error_max"] == (np.max(largest), None)
  assert row.intervals["best_of_n_per_image"] == splits.bootstrap_interval(
    best, seed=4
  )
  assert "lightness_error_max" not in row.intervals
  assert row == _row([(truth, samples, None)], "reference", seed=4)


def test_reference_rows():
  truth, _ = pictures(3)
  itself = np.repeat(truth[:, None], 7, axis=1)
  real = _row([(truth, itself, None)])
  assert {value for value, _ in real.metrics.values()} == {0.0}
  grey = _row([(truth, grey_of(truth)[:, None], None)])
  assert grey.metrics["single_rmse"][0] > 5
  assert grey.metrics["variance"][0] == 0
  assert grey.metrics["lightness_error_max"][0] < 0.1


def test_evaluate_with_another_lightness():
  truth, samples = pictures(2)
  row = _row([(truth, samples, None)], to_lightness=np.zeros_like)
  assert row.metrics["lightness_error_max"][0] == 0


def test_evaluate_refuses_what_it_cannot_compare():
  truth, samples = pictures(2)
  with pytest.raises(ValueError, match="no image"):
    _row([])
  with pytest.raises(ValueError, match="no image"):
    _row([(truth, samples, [0, 0])])
  with pytest.raises(ValueError, match=r"1 samples per image, .* before 2"):
    _row([(truth, samples, None), (truth, samples[:, :1], None)])
  with pytest.raises(ValueError, match="same images; got 2 and 1"):
    _row([(truth, samples[:1], None)])
  with pytest.raises(ValueError, match="samples must lie in"):
    _row([(truth, samples * np.nan, None)])
