"""Pictures of a calibration, uint8 [H, W, 3], with exact bands in grey."""

from collections.abc import Mapping, Sequence

import numpy as np

from cinn_jax.evaluation.calibrate.lines import Curve
from cinn_jax.evaluation.metrics import calibration, calibration_plots

_GREY = "0.85"
_BINS = 20


def reliability(
  curves: Sequence[Curve], x_title: str = "level", y_title: str = "share below"
) -> np.ndarray:
  """Plots shares against their levels, a panel for each curve."""
  figure, axes = _panels([curve.title for curve in curves])
  for axis, curve in zip(axes, curves, strict=True):
    x, value = curve.levels, np.asarray(curve.measured.value, float)
    if curve.measured.band is not None:
      axis.fill_between(x, *map(_floats, curve.measured.band), color=_GREY)
    axis.axline((0, 0), slope=1, color="0.4", linestyle=":")
    shown = np.isfinite(value)
    if curve.measured.interval is not None:
      low, high = map(_floats, curve.measured.interval)
      ends = np.abs(np.stack([value - low, high - value]))[:, shown]
      axis.errorbar(x[shown], value[shown], np.nan_to_num(ends), fmt="C0.-")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel(x_title)
    axis.set_ylabel(y_title)
  return calibration_plots.to_picture(figure)


def rank_histograms(
  columns: Mapping[str, np.ndarray], members: int
) -> np.ndarray:
  """Plots histograms of ranks, 0 to members - 1.

  A hump in the middle: the model is too unsure. High ends: it is too sure. The
  dotted line is a right model.
  """
  figure, axes = _panels(list(columns))
  for axis, ranks in zip(axes, columns.values(), strict=True):
    counts, right = calibration.bin_counts(ranks[:, None], members - 1, _BINS)
    edges = np.linspace(0, 1, counts.shape[1] + 1)
    axis.stairs(counts[0] / np.maximum(right[0], 1e-9), edges, fill=True)
    axis.axhline(1, color="0.4", linestyle=":")
    axis.set_ylim(0)
    axis.set_xlabel("quantile of the truth")
  return calibration_plots.to_picture(figure)


def latent_histograms(u: np.ndarray, names: Sequence[str]) -> np.ndarray:
  """Plots histograms of the latents' u [N, L], with a 99 % band per bin."""
  ranks = np.minimum((u * _BINS).astype(int), _BINS - 1)
  return calibration_plots.rank_histogram(ranks, _BINS - 1, names)


def sureness_maps(maps: Mapping[str, np.ndarray]) -> np.ndarray:
  """Draws maps of coverage minus 80 %: red is too sure, blue too unsure."""
  figure, axes = _panels(list(maps))
  for axis, values in zip(axes, maps.values(), strict=True):
    shown = axis.imshow(100 * values, cmap="RdBu", vmin=-20, vmax=20)
    axis.set_xticks([])
    axis.set_yticks([])
  figure.colorbar(shown, ax=list(axes), label="too sure | too unsure, points")
  return calibration_plots.to_picture(figure)


def _floats(values):
  return np.asarray(values, float)


def _panels(titles):
  # Square panels, and room for the legend.
  return calibration_plots.panels(titles, height=2.6 / 2.2, least=5)
