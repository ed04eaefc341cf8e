"""Errors of colorizations, per image and over a split."""

import numpy as np
import pytest
import skimage.color

from cinn_jax.evaluation.by_task import colorize
from cinn_jax.evaluation.metrics import cinn_protocol, splits


def _pictures(images, draws=2, size=6, seed=0):
  """Returns random (truth, samples)."""
  rng = np.random.default_rng(seed)
  truth = rng.random((images, size, size, 3), np.float32)
  return truth, rng.random((images, draws, size, size, 3), np.float32)


def _grey(truth):
  """Returns pictures of the same lightness without colour."""
  lab = skimage.color.rgb2lab(truth)
  lab[..., 1:] = 0
  return skimage.color.lab2rgb(lab).clip(0, 1)


def _row(batches, mark="ours", seed=0, **options):
  method = colorize.Method(mark, **options)
  for batch in batches:
    method.add(*batch)
  return method.row(seed)


def test_per_example_has_every_metric():
  truth, samples = _pictures(3)
  values = colorize.per_example(truth, samples)
  squared = cinn_protocol.squared_error(truth, samples)
  mean, largest = cinn_protocol.lightness_error(truth, samples)
  expected = {
    "single_rmse": cinn_protocol.single_rmse(squared),
    "mean_rmse": cinn_protocol.mean_rmse(squared),
    "best_of_n_per_image": cinn_protocol.best_of_n_per_image(squared),
    "best_of_n_per_image_pooled": cinn_protocol.best_of_n_per_image(squared),
    "best_of_n_per_pixel": cinn_protocol.best_of_n_per_pixel(squared),
    "variance": cinn_protocol.variance(samples),
    "lightness_error_mean": mean,
    "lightness_error_max": largest,
  }
  assert list(values) == list(expected) == list(colorize.METRICS)
  for name, value in expected.items():
    np.testing.assert_allclose(values[name], value, rtol=1e-12, err_msg=name)
  # All definitions differ on these pictures, except the pooled one per image.
  firsts = [
    values[name][0] for name in expected if name != "best_of_n_per_image_pooled"
  ]
  assert len(set(firsts)) == len(firsts)


def test_padding_does_not_count():
  truth, samples = _pictures(5)
  padded_truth = np.full_like(truth[:3], np.nan)
  padded_samples = np.full_like(samples[:3], np.nan)
  padded_truth[:2], padded_samples[:2] = truth[3:], samples[3:]
  batches = [
    (truth[:3], samples[:3], None),
    (padded_truth, padded_samples, [1, 1, 0]),
  ]
  row = _row(batches, mark="reference", seed=4)
  assert (row.mark, row.images, row.samples) == ("reference", 5, 2)
  assert row == _row([(truth, samples, None)], "reference", seed=4)


def test_row_reduces_and_resamples_each_metric():
  truth, samples = _pictures(5)
  row = _row([(truth, samples, None)], seed=4)
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


def test_reference_rows():
  truth, _ = _pictures(3)
  copies = np.repeat(truth[:, None], 7, axis=1)
  real = _row([(truth, copies, None)])
  assert {value for value, _ in real.metrics.values()} == {0.0}
  grey = _row([(truth, _grey(truth)[:, None], None)])
  assert grey.metrics["single_rmse"][0] > 5
  assert grey.metrics["variance"][0] == 0
  assert grey.metrics["lightness_error_max"][0] < 0.1


def test_another_lightness():
  truth, samples = _pictures(2)
  row = _row([(truth, samples, None)], to_lightness=np.zeros_like)
  assert row.metrics["lightness_error_max"][0] == 0


def test_bad_pictures_raise():
  truth, samples = _pictures(2)
  with pytest.raises(ValueError, match="no image"):
    _row([])
  with pytest.raises(ValueError, match="no image"):
    _row([(truth, samples, [0, 0])])
  with pytest.raises(ValueError, match=r"1 samples per image, .* had 2"):
    _row([(truth, samples, None), (truth, samples[:, :1], None)])
  with pytest.raises(ValueError, match="same images; got 2 and 1"):
    _row([(truth, samples[:1], None)])
  with pytest.raises(ValueError, match="samples must lie in"):
    _row([(truth, samples * np.nan, None)])
