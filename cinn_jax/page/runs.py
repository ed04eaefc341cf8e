"""The trained runs that a page offers, and their samplers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cinn_jax.images import writing
from cinn_jax.runtime import storage
from cinn_jax.sampling.answer import Answer
from cinn_jax.sampling.hints import Point
from cinn_jax.sampling.numbered import draw_ranked
from cinn_jax.sampling.photos import Photos
from cinn_jax.sampling.pictures import Pictures
from cinn_jax.sampling.sample import SAMPLERS
from cinn_jax.workdir.trained import restore

# Number of samples that a page shows.
SHOWN = 8


class Run(NamedTuple):
  """A trained run on a page.

  Attributes:
    name: The workdir, or the name of a flow that the package ships.
    task: Name of its task.
    sampler: Answers photographs.
  """

  name: str
  task: str
  sampler: Photos | Pictures

  @property
  def takes_hints(self) -> bool:
    """True if colours can be set by points."""
    return isinstance(self.sampler, Photos) and self.sampler.cells > 0

  @property
  def takes_holes(self) -> bool:
    """True if the run fills painted holes."""
    return self.task == "inpaint"

  def warm_up(self, folder) -> None:
    """Compiles the programs that the first photograph needs."""
    if not isinstance(self.sampler, Photos):
      return  # Their programs depend on the photograph.
    path = storage.path(folder) / "grey.png"
    writing.save_png(path, np.full((320, 480, 3), 128, np.uint8))
    photograph = self.sampler.open(str(path))
    point = Point(0.0, 0.0, (200, 80, 80))
    for points in [[], [point]] if self.takes_hints else [[]]:
      subject = self.sampler.subject(photograph, points)
      answer = Answer(subject, draw_ranked(subject.draw, 0, SHOWN))
      answer.previews()
      answer.write(path.parent, "grey", 0)
    for file in path.parent.glob("grey*"):
      file.unlink()


def open_runs(workdirs: Sequence[str]) -> dict[str, Run]:
  """Returns the runs of workdirs by name; if none, the flow that is shipped.

  Raises:
    FileNotFoundError: if a workdir holds no checkpoint.
    ValueError: for a run that does not start from a photograph.
  """
  return {name: _open(name) for name in workdirs or ["photographs"]}


def _open(name):
  trained = restore(name)
  task = trained.config["task"]["name"]
  kind = SAMPLERS[task]
  if kind not in (Photos, Pictures):
    raise ValueError(
      f"{name} is a run of {task}, which does not start from a photograph: name"
      " runs of colorization, super-resolution, inpainting or sketches."
    )
  sampler = kind(trained)
  assert isinstance(sampler, Photos | Pictures)
  return Run(name, task, sampler)
