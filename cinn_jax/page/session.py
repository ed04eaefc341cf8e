"""One tab of the page: its photograph, its settings and its samples.

A tab does one thing at a time. It has a folder of its own, which is removed
when the tab is closed.
"""

import contextlib
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cinn_jax.images import reading, writing
from cinn_jax.page.opened import DRAWN, Drawn, Opened, draw, open_copy
from cinn_jax.page.runs import SHOWN, Run
from cinn_jax.page.wishes import Colors, Settings, command, hints_name
from cinn_jax.sampling import hints
from cinn_jax.sampling.form import Form
from cinn_jax.sampling.numbered import CHUNK, Ranked


class Gone(RuntimeError):
  """Raised for a tab that was closed, whose pictures were removed."""

  def __init__(self) -> None:
    super().__init__(
      "This page lost its connection, and its pictures were removed: please"
      " load it again."
    )


class Shown(NamedTuple):
  """Samples to show.

  Attributes:
    files: Their previews.
    note: A line about the photograph.
    order: A sentence about their order.
    shares: For each one, the share of 64 samples that it is nearest to; empty
      until they are counted.
    takes_more: True if `Session.count` can count the shares.
  """

  files: Sequence[str]
  note: str
  order: str
  shares: Sequence[float]
  takes_more: bool


class Session:
  """The state of one tab.

  Args:
    folder: Folder for its files; created here.

  Attributes:
    colors: The known colours.
  """

  def __init__(self, folder: pathlib.Path):
    folder.mkdir(parents=True)
    self._folder = folder
    self._lock = threading.RLock()
    # The number of the latest event; earlier ones see it and give up.
    self._event = self._count = 0
    self._is_closed = False
    self._forget()

  def _forget(self, keep: pathlib.Path | None = None) -> None:
    """Forgets everything, and removes all files but those in one folder."""
    self._opened: Opened | None = None
    self._drawn: Drawn | None = None
    self._shown: Shown | None = None
    self.colors = Colors()
    for folder in self._folder.iterdir():
      if folder != keep:
        shutil.rmtree(folder)

  @contextlib.contextmanager
  def _at_work(self) -> Iterator[Opened]:
    """Takes turns with other events, and yields the open photograph.

    Raises:
      Gone: if the tab was closed.
      ValueError: if there is no photograph.
    """
    with self._lock:
      if self._is_closed:
        raise Gone
      if self._opened is None:
        raise ValueError("There is no photograph yet: drop one first.")
      yield self._opened

  @contextlib.contextmanager
  def _hinting(self) -> Iterator[Opened]:
    """Does as `_at_work`, and raises ValueError if the run takes no hints."""
    with self._at_work() as opened:
      if not opened.run.takes_hints:
        raise ValueError("This run takes no hints: it chooses all colours.")
      yield opened

  def reset(self) -> None:
    """Forgets everything."""
    self._event += 1
    with self._lock:
      if self._is_closed:
        raise Gone
      self._forget()

  @contextlib.contextmanager
  def _copy(self, file: str) -> Iterator[str]:
    """Yields a copy of an upload, which may be removed while its turn comes."""
    if self._is_closed:
      raise Gone
    with tempfile.TemporaryDirectory(dir=self._folder.parent) as folder:
      yield shutil.copy(file, folder)

  def open(self, run: Run, file: str) -> None:
    """Opens a photograph, see `open_copy`; only then forgets the earlier one.

    Raises:
      UnreadableImage: if the file cannot be read; the earlier one stays.
    """
    with self._copy(file) as own, self._lock:
      if self._is_closed:
        raise Gone
      self._count += 1
      folder = self._folder / f"photograph-{self._count}"
      folder.mkdir()
      try:
        opened = open_copy(run, own, folder)
      except BaseException:
        shutil.rmtree(folder)
        raise
      self._event += 1
      self._forget(keep=folder)
      self._opened = opened

  def add(self, x: float, y: float, color: str) -> None:
    """Adds a hint of a colour such as "#1e5aa8" at pixel (x, y) of the view."""
    with self._hinting() as opened:
      column, row = opened.view.to_photograph(x, y)
      point = hints.Point(column, row, hints.parse_color(color))
      self.colors.points = [*self.colors.points, point]

  def undo(self) -> None:
    """Removes the hint that was added last."""
    with self._at_work():
      self.colors.points = self.colors.points[:-1]

  def clear(self) -> None:
    """Removes all hints that were added."""
    with self._at_work():
      self.colors.points = ()

  def load_hints(self, file: str) -> None:
    """Replaces the hints, see `Colors.load`."""
    with self._copy(file) as own, self._hinting() as opened:
      self.colors.load(own, opened.path, opened.view)

  def save_hints(self) -> str:
    """Writes the hints as a file for `--hints`; returns its path."""
    with self._at_work() as opened:
      path = self._folder / "hints" / hints_name(opened.path)
      hints.write(path, self.colors.points)
      return str(path)

  def refer(self, file: str | None) -> int:
    """Takes colours from a photograph; returns the number of its hints."""
    with contextlib.ExitStack() as stack:
      own = None if file is None else stack.enter_context(self._copy(file))
      stack.enter_context(self._hinting()).refer(self.colors, own)
      return len(self.colors.matches)

  def dig(self, hole: np.ndarray) -> None:
    """Sets the hole to fill, see `Opened.dig`."""
    with self._at_work() as opened:
      opened.dig(hole)

  def picture(self) -> str:
    """Writes the view, with a dot for each hint; returns the path."""
    with self._at_work() as opened:
      dots = opened.view.draw(self.colors.points, self.colors.matches)
      return self._write("view", dots)

  def draw(self, settings: Settings) -> Shown | None:
    """Draws samples, and writes their previews.

    Returns:
      The samples, or None if a later event asks for others, or a hole has to be
      painted first.

    Raises:
      ValueError: if there is no photograph, or the settings are wrong.
    """
    self._event = event = self._event + 1
    with self._lock:
      if event != self._event:
        return None
      return self._draw(settings)

  def _draw(self, settings: Settings) -> Shown | None:
    with self._at_work() as opened:
      if not opened.is_ready:
        return None
      drawn = draw(opened, self.colors, settings)
      subject, ranked = drawn.answer
      files = [self._write("sample", p) for p in drawn.answer.previews()]
      self._drawn = drawn
      self._shown = Shown(
        files,
        Form().note(subject),
        _order_of(ranked),
        ranked.shares or (),
        drawn.takes_more,
      )
      return self._shown

  def count(self) -> Shown | None:
    """Draws more samples in the background, up to 64, to count the shares.

    Returns:
      The samples with shares, or None if a later event asks for others.
    """
    with self._at_work():
      event, drawn, shown = self._event, self._drawn, self._shown
    if drawn is None or shown is None or not drawn.takes_more:
      return None
    more = []
    for first in range(SHOWN, DRAWN, CHUNK):
      # Other events get their turn between two chunks.
      with self._lock:
        if event != self._event:
          return None
        with self._at_work():
          more.append(drawn.draw_more(first))
    return shown._replace(shares=drawn.shares(more), takes_more=False)

  def compare(self, place: int) -> tuple[str, str]:
    """Returns the files of the view and of a sample, both of one size."""
    with self._at_work() as opened:
      after = self._answered()[1].files[place]
      before = opened.view.at_size_of(reading.decode(after))
      return self._write("before", before), after

  def render(self, place: int) -> tuple[str, str]:
    """Writes a sample at full size, as `--mode=sample` does.

    Args:
      place: Its place among the samples that are shown, from 0.

    Returns:
      The path of the file, and the command that writes the same file; it is
      empty if a hole was painted, which only this session has.
    """
    with self._at_work() as opened:
      drawn, _ = self._answered()
      self._count += 1
      folder = self._folder / f"whole-{self._count}"
      path = drawn.answer.write(folder, opened.path.stem, place)
      if opened.run.takes_holes:
        return str(path), ""
      words = [f"--workdir={opened.run.name}", f"--inputs={opened.path.name}"]
      words += drawn.flags
      return str(path), command(words, drawn.settings, place)

  def _answered(self) -> tuple[Drawn, Shown]:
    if self._drawn is None or self._shown is None:
      raise ValueError("There are no samples yet: drop a photograph first.")
    return self._drawn, self._shown

  def _write(self, name, picture):
    """Writes a picture under a new name, since browsers keep the old ones."""
    self._count += 1
    file = self._folder / "shown" / f"{name}-{self._count}.jpg"
    writing.save_photo(file, picture)
    return str(file)

  def close(self) -> None:
    """Ends the session and removes its files, once its current work is done."""
    self._event += 1
    with self._lock:
      if not self._is_closed:
        self._forget()
        self._is_closed = True
        self._folder.rmdir()


def _order_of(ranked: Ranked) -> str:
  """Returns a sentence about the order of samples."""
  if ranked.shares:
    return "The answer with the largest share comes first."
  if np.isnan(ranked.log_prob).all():
    return "This run has no likelihood: answers come as they were drawn."
  return "The most likely answer comes first."
