"""A photograph that a tab has open, and the samples that were drawn for it."""

import pathlib
import shutil
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cinn_jax.images import reading, writing
from cinn_jax.page.runs import SHOWN, Run
from cinn_jax.page.view import View
from cinn_jax.page.wishes import Colors, Settings
from cinn_jax.sampling import temperatures
from cinn_jax.sampling.answer import Answer
from cinn_jax.sampling.choice import ALL, Choice, shares
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import CHUNK, draw_ranked
from cinn_jax.sampling.photograph import Photograph
from cinn_jax.sampling.photos import Photos
from cinn_jax.sampling.subject import Subject

# Number of samples that the shares are counted over.
DRAWN = 64


class Opened(NamedTuple):
  """A photograph, and the run that answers it.

  Attributes:
    run: The run.
    path: The tab's copy of the file.
    view: The picture on the page.
    photograph: Input of a colorization run; None for other runs.
  """

  run: Run
  path: pathlib.Path
  view: View
  photograph: Photograph | None = None

  def subject(self, colors: Colors) -> Subject:
    """Returns the photograph to answer."""
    sampler = self.run.sampler
    if isinstance(sampler, Photos):
      assert self.photograph is not None
      return sampler.subject(self.photograph, colors.all)
    [item] = sampler.items([Item(self.path.stem, str(self.path))])
    return sampler.load(item)

  def refer(self, colors: Colors, file: str | None) -> None:
    """Takes colours from another photograph, see `Colors.refer`."""
    if isinstance(self.run.sampler, Photos) and self.photograph is not None:
      colors.refer(self.run.sampler, self.photograph, file)

  @property
  def is_ready(self) -> bool:
    """False if a hole has to be painted first."""
    return not self.run.takes_holes or self._hole.exists()

  def dig(self, hole: np.ndarray) -> None:
    """Sets the hole to fill, bool [h, w] of the view.

    Raises:
      ValueError: if the hole is empty.
    """
    if not hole.any():
      raise ValueError("Nothing is painted: paint over the part to fill.")
    marks = np.where(self.view.to_whole(hole)[..., None], 255, 0)
    writing.save_png(self._hole, np.repeat(marks, 3, -1).astype(np.uint8))

  @property
  def _hole(self):
    # The folder and the name under which `sampling.fill` looks for it.
    return self.path.with_name(f"{self.path.stem}_hole.png")


def open_copy(run: Run, file: str, folder: pathlib.Path) -> Opened:
  """Opens a copy of a photograph in a folder.

  Raises:
    UnreadableImage: if the file cannot be read.
  """
  path = folder / pathlib.Path(file).name
  shutil.copyfile(file, path)
  if isinstance(run.sampler, Photos):
    photograph = run.sampler.open(str(path))
    return Opened(run, path, View(photograph.pixels, grey=True), photograph)
  return Opened(run, path, View(reading.decode(path), grey=False))


class Drawn(NamedTuple):
  """The samples on a page.

  Attributes:
    settings: The settings that they were drawn with.
    flags: Flags for the colours that were known.
    answer: The samples.
    takes_more: True if their shares can be counted with `draw_more`.
  """

  settings: Settings
  flags: Sequence[str]
  answer: Answer
  takes_more: bool

  def draw_more(self, first: int) -> np.ndarray:
    """Draws samples that are not on the page, from number `first` on."""
    ranked = draw_ranked(
      self.answer.subject.draw,
      self.settings.seed,
      CHUNK,
      temperatures.parse(self.settings.temperature),
      first=first,
    )
    return ranked.x

  def shares(self, more: Sequence[np.ndarray]) -> list[float]:
    """Returns the share of all samples that is nearest to each one on the page.

    Args:
      more: The samples that are not on the page.
    """
    ranked = self.answer.ranked
    x = np.concatenate([ranked.x, *more])
    return shares(x, [int(k) for k in ranked.order])


def draw(opened: Opened, colors: Colors, settings: Settings) -> Drawn:
  """Draws the samples of a page.

  Raises:
    ValueError: if the settings are wrong.
  """
  subject = opened.subject(colors)
  ranked = draw_ranked(
    subject.draw,
    settings.seed,
    DRAWN if settings.spread else SHOWN,
    temperatures.parse(settings.temperature),
    chunk=subject.chunk,
  )
  choice = Choice(diverse=SHOWN) if settings.spread else ALL
  takes_more = opened.photograph is not None and not settings.spread
  answer = Answer(subject, choice(ranked))
  return Drawn(settings, colors.flags(opened.path), answer, takes_more)
