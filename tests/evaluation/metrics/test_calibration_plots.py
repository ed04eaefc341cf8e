"""Plots of calibration: their content, and the coverage of their bands."""

import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.evaluation.metrics import calibration
from cinn_jax.evaluation.metrics import calibration_plots as plots

N, L = 250, 63
GREY, BLUE = np.array([217, 217, 217]), np.array([31, 119, 180])


def _ranks(power=1.0, seed=0, parameters=2):
  """Returns uniform ranks; a power other than 1 shifts them to one end."""
  uniform = np.random.default_rng(seed).uniform(size=(N, parameters))
  return np.floor(uniform**power * (L + 1)).astype(int)


def _has_colour(picture, colour):
  return np.all(np.abs(picture.astype(int) - colour) <= 2, axis=-1)


def _check_picture(picture):
  assert picture.dtype == np.uint8 and picture.ndim == 3
  assert picture.shape[2] == 3 and min(picture.shape[:2]) >= 150
  assert _has_colour(picture, GREY).any() and _has_colour(picture, BLUE).any()


@pytest.mark.parametrize("parameters", [1, 2, 5])
def test_rank_histogram_has_a_panel_per_parameter(parameters):
  picture = plots.rank_histogram(_ranks(parameters=parameters), L)
  _check_picture(picture)
  columns, rows = min(parameters, 4), -(-parameters // 4)
  assert picture.shape[:2] == (220 * rows, 260 * columns)


def test_curves_are_pictures():
  ranks, levels = _ranks(), np.linspace(0.01, 0.99, 25)
  _check_picture(plots.ecdf_difference(ranks, L, ["a", "b"]))
  coverage = calibration.central_coverage(ranks, L, levels)
  _check_picture(plots.coverage_curve(levels, coverage, N))


def test_plots_show_the_ranks():
  for plot in (plots.rank_histogram, plots.ecdf_difference):
    uniform, again, skewed = (
      plot(_ranks(power), L) for power in (1.0, 1.0, 2.0)
    )
    np.testing.assert_array_equal(uniform, again)
    assert skewed.shape == uniform.shape
    assert np.any(skewed != uniform)


def test_binomial_band_holds_its_share():
  low, high = plots.binomial_band(N, np.array([0.05, 0.5]), 0.9)
  counts = np.random.default_rng(1).binomial(N, [0.05, 0.5], size=(20_000, 2))
  inside = np.mean((counts >= low) & (counts <= high), axis=0)
  assert np.all((inside >= 0.895) & (inside < 0.95))
  # The band is not too wide either: 1.645 deviations of a half of 250 are 13.
  assert high[1] - low[1] == pytest.approx(26, abs=2)
  low, high = plots.binomial_band(N, np.array([0.0, 1.0]), 0.9)
  np.testing.assert_array_equal([low, high], [[0, N], [0, N]])


def _inside_everywhere(ranks, band):
  points, low, high = band
  limits = points * (L + 1)
  ecdf = np.mean(ranks[:, None] < limits[:, None], axis=0)
  return np.all((ecdf >= low[:, None]) & (ecdf <= high[:, None]), axis=0)


def test_ecdf_band_holds_whole_curves():
  band = plots.ecdf_band(N, L, 0.9)
  assert band[0][0] == 1 / (L + 1) and band[0][-1] == 1
  fresh = np.random.default_rng(2).integers(L + 1, size=(N, 3000))
  inside = np.mean(_inside_everywhere(fresh, band))
  # Counts are whole, so the band holds somewhat more than its 90 %.
  assert 0.885 < inside < 0.93
  narrow = np.clip(np.round((fresh - L / 2) * 0.7 + L / 2), 0, L)
  assert np.mean(_inside_everywhere(narrow, band)) < 0.05


def test_bad_input_raises():
  with pytest.raises(ValueError, match="one per parameter, 2; got 1"):
    plots.rank_histogram(_ranks(), L, ["a"])
  with pytest.raises(ValueError, match=r"\[levels, D\]; got levels \[3\]"):
    plots.coverage_curve([0.1, 0.5, 0.9], np.ones((2, 1)), N)
  with pytest.raises(ValueError, match="0 to 10"):
    plots.ecdf_difference(_ranks(), 10)


def test_does_not_import_pyplot():
  code = (
    "import sys; from cinn_jax.evaluation.metrics import calibration_plots;"
    "assert 'matplotlib.pyplot' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
