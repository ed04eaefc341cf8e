"""Odds of the colours of a photograph: in words, as numbers and as a map.

The odds use the first draws of the seed, as many as the run's calibration used,
however many samples are written.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cinn_jax.images import color_names
from cinn_jax.images.regions import region_means
from cinn_jax.sampling import odds
from cinn_jax.sampling import temperatures as names
from cinn_jax.sampling.numbered import draw_ranked
from cinn_jax.sampling.subject import Subject
from cinn_jax.tasks.colorize import denormalize_ab
from cinn_jax.workdir.trained import Trained

# Number of samples if there is no calibration.
NUM_SAMPLES = 64
# The conformal intervals: regions along each side, and the level.
_GRID, _LEVEL = 4, 0.9


class Forecast(NamedTuple):
  """The odds of one photograph.

  Attributes:
    words: A line for each quarter of the photograph.
    content: Everything but the map, for samples.json.
    picture: uint8 [H, W, 3], the map of how unsure each pixel is.
  """

  words: list[str]
  content: dict[str, Any]
  picture: np.ndarray


class Forecaster:
  """Tells odds of colours with a run of `colorize`.

  Args:
    trained: The run.
    calibration: Content of its `calibration.json`, or None.
    temperatures: The scales of the latents for which odds will be requested.
    seed: Seed for the samples.
    is_steered: True if hints are given; a calibration does not cover them.

  Attributes:
    num_samples: Number of samples for each photograph.
    note: The reason why there are no conformal intervals, or "".

  Raises:
    ValueError: for a run of another task.
  """

  def __init__(
    self,
    trained: Trained,
    calibration: Mapping[str, Any] | None,
    *,
    temperatures: Sequence[float | list[float]] = (1.0,),
    seed: int = 0,
    is_steered: bool = False,
  ):
    task = trained.config["task"]["name"]
    if task != "colorize":
      raise ValueError(
        f"--odds is for colorization, not for {task}: leave it out."
      )
    self._seed = seed
    self._offsets: Mapping[str, Any] = {}
    self.num_samples, self.note = NUM_SAMPLES, ""
    if calibration is None:
      self.note = "the run has no calibration: --mode=calibrate makes one"
    elif calibration["checkpoint"] != trained.digest:
      self.note = (
        "its calibration is of another checkpoint: run --mode=calibrate again"
      )
    elif is_steered:
      self.note = "the calibration was made without hints"
    else:
      self.num_samples = calibration["num_samples"]
      self._offsets = calibration["offsets"]
      called = [names.name(temperature) for temperature in temperatures]
      if missing := [name for name in called if name not in self._offsets]:
        self.note = f"the calibration is not of temperature {missing[0]}"

  def settings(self) -> dict[str, Any]:
    """Returns everything that the odds depend on, as JSON."""
    return {"num_samples": self.num_samples, "offsets": dict(self._offsets)}

  def __call__(
    self, subject: Subject, temperature: float | list[float], first: int = 0
  ) -> Forecast:
    """Returns the odds of a photograph at a temperature.

    Args:
      subject: The photograph.
      temperature: Scale of the latents.
      first: Number of the first sample.
    """
    ranked = draw_ranked(
      subject.draw,
      self._seed,
      self.num_samples,
      temperature,
      first=first,
      chunk=subject.chunk,
    )
    ab = np.asarray(denormalize_ab(jnp.asarray(ranked.x)))
    quarters = _means(ab, 2)
    shares = odds.shares(color_names.indices(quarters))
    content: dict[str, Any] = {
      "samples": self.num_samples,
      "words": odds.in_words(shares),
      "quarters": [_by_name(row) for row in shares],
      "regions": [
        _by_name(row)
        for row in odds.shares(color_names.indices(_means(ab, _GRID)))
      ],
    }
    if offsets := self._offsets.get(names.name(temperature)):
      content["intervals"] = _intervals(_means(ab, _GRID), offsets)
    unsure = np.sqrt(ab.var(axis=0).sum(axis=-1))
    picture = _map(unsure, subject.head[0])
    return Forecast(content["words"], content, picture)


def _means(ab, grid):
  """Returns means of ab [n, h, w, 2] by region, row by row: [n, R, 2]."""
  return np.asarray(region_means(ab, grid)).reshape(len(ab), -1, 2)


def _by_name(row):
  pairs = zip(color_names.NAMES, row, strict=True)
  return {name: round(float(share), 4) for name, share in pairs}


def _intervals(means, offsets):
  """Returns conformal intervals of a and b, row by row, for samples.json."""
  own = offsets[f"{_GRID}x{_GRID}"]
  content: dict[str, Any] = {"level": _LEVEL, "grid": _GRID}
  for c, channel in enumerate(("a", "b")):
    low, high = odds.central_interval(means[..., c], _LEVEL)
    low, high = odds.widened(low, high, own[channel][f"{_LEVEL:g}"])
    content[channel] = np.stack([low, high], axis=-1).round(2).tolist()
  return content


def _map(unsure, grey):
  """Draws standard deviations [h, w] in Lab units next to the photograph."""
  height, width = grey.shape[:2]
  figure = Figure(
    (8, max(2.0, 3.2 * height / width)), dpi=100, layout="constrained"
  )
  FigureCanvasAgg(figure)  # Opens no window, and does not touch pyplot.
  photo, axis = figure.subplots(1, 2)
  photo.imshow(grey)
  shown = axis.imshow(
    unsure, cmap="magma", vmin=0, extent=(0, width, height, 0)
  )
  for one in (photo, axis):
    one.set_axis_off()
  figure.colorbar(shown, ax=axis, label="std of the colours, Lab units")
  figure.canvas.draw()
  return np.array(figure.canvas.buffer_rgba())[..., :3].copy()
