"""The events of the page, as calls to a tab's session.

Each method answers one event. It returns the new values of some parts of the
page, in the order in which `layout` lists them.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
import numpy as np

from cinn_jax.images.reading import UnreadableImage
from cinn_jax.page.opened import DRAWN
from cinn_jax.page.runs import Run
from cinn_jax.page.session import Session, Shown
from cinn_jax.page.sessions import Sessions
from cinn_jax.page.wishes import Settings

_HELP = {
  "colorize": "Drop a photograph. Then choose a colour, and click where it"
  " belongs: all eight answers follow.",
  "inpaint": "Drop a photograph, and paint over the part to fill.",
  "super_resolution": "Drop a small picture, to enlarge it.",
}
_SHARES = (
  f"Percentages: the share of {DRAWN} samples that are closest to each answer,"
  " by the mean colours of large areas."
)
_SOON = "Percentages will follow."


def help_of(run: Run) -> str:
  """Returns a line that says what to do first."""
  if run.task == "colorize" and not run.takes_hints:
    return "Drop a photograph, to see eight colourings."
  return _HELP.get(run.task, "Drop a picture.")


@contextlib.contextmanager
def _one_line(file: str = "") -> Iterator[None]:
  """Shows an error as one sentence on the page."""
  try:
    yield
  except UnreadableImage as error:
    name = pathlib.Path(file or error.name).name
    raise gr.Error(f"{name}: {error.reason}.", print_exception=False) from error
  except (ValueError, OSError, RuntimeError) as error:
    line = " ".join(str(error).split()) or type(error).__name__
    raise gr.Error(line, print_exception=False) from error


class Events:
  """The events of all tabs.

  Args:
    runs: The runs by name.
    sessions: The tabs.
  """

  def __init__(self, runs: Mapping[str, Run], sessions: Sessions):
    self._runs, self._sessions = runs, sessions

  def _of(self, request: gr.Request) -> Session:
    return self._sessions.of(str(request.session_hash))

  def unload(self, request: gr.Request) -> None:
    """Ends the session of a tab that was closed."""
    self._sessions.close(str(request.session_hash))

  def run(self, name: str, request: gr.Request) -> tuple[Any, ...]:
    """Begins again with another run."""
    with _one_line():
      self._of(request).reset()
    run = self._runs[name]
    return (
      help_of(run),
      gr.update(visible=run.takes_hints),
      Settings().temperature,
      gr.update(value=None),
      gr.update(value=None, visible=False),
      gr.update(value=None, visible=False),
      gr.update(visible=False),
      *_NO_COLORS,
      *_NOTHING,
    )

  def drop(self, name: str, file: str, request: gr.Request) -> tuple[Any, ...]:
    """Opens the photograph that was dropped."""
    run = self._runs[name]
    with _one_line(file):
      session = self._of(request)
      session.open(run, file)
      view = session.picture()
    if run.takes_holes:
      photo = gr.update(value=None, visible=False)
      hole = gr.update(
        value={"background": view, "layers": [], "composite": None},
        visible=True,
      )
    else:
      photo = gr.update(value=view, visible=True)
      hole = gr.update(value=None, visible=False)
    fill = gr.update(visible=run.takes_holes)
    return photo, hole, fill, *_NO_COLORS, *_NOTHING

  def click(
    self, color: str, place: gr.SelectData, request: gr.Request
  ) -> tuple[str, str]:
    """Adds a hint at the pixel that was clicked."""
    with _one_line():
      session = self._of(request)
      session.add(*place.index, color)
    return self._hinted(session)

  def undo(self, request: gr.Request) -> tuple[str, str]:
    """Removes the last hint."""
    with _one_line():
      session = self._of(request)
      session.undo()
    return self._hinted(session)

  def clear(self, request: gr.Request) -> tuple[str, str]:
    """Removes all hints."""
    with _one_line():
      session = self._of(request)
      session.clear()
    return self._hinted(session)

  def load(self, file: str, request: gr.Request) -> tuple[str, str]:
    """Loads a file of hints."""
    with _one_line():
      session = self._of(request)
      session.load_hints(file)
    return self._hinted(session)

  def refer(self, file: str | None, request: gr.Request) -> tuple[str, str]:
    """Takes colours from a reference photograph; None removes it."""
    with _one_line(file or ""):
      session = self._of(request)
      count = session.refer(file)
    if file is not None:
      gr.Info(f"{count} places that look alike take its colours.")
    return self._hinted(session)

  def _hinted(self, session: Session) -> tuple[str, str]:
    with _one_line():
      return session.picture(), session.save_hints()

  def fill(self, value: dict[str, Any], request: gr.Request) -> None:
    """Takes the hole that was painted, to fill it."""
    with _one_line():
      self._of(request).dig(painted(value))

  def draw(
    self,
    place: int,
    seed: float | None,
    temperature: str,
    spread: bool,
    request: gr.Request,
  ) -> tuple[Any, ...]:
    """Draws samples again."""
    if seed is None:  # The field is empty while another number is typed.
      return (gr.skip(),) * 7
    with _one_line():
      session = self._of(request)
      shown = session.draw(Settings(int(seed), temperature, spread))
      if shown is None:
        return (gr.skip(),) * 7
      compare = session.compare(place) if place >= 0 else None
    return (
      captioned(shown),
      _note(shown),
      place,
      gr.update(visible=place >= 0),
      compare,
      gr.update(visible=False),
      gr.update(visible=False),
    )

  def count(self, request: gr.Request) -> tuple[Any, ...]:
    """Counts the shares of the samples that are shown."""
    with _one_line():
      session = self._of(request)
      shown = session.count()
      if shown is None:
        return (gr.skip(),) * 2
    return captioned(shown), _note(shown)

  def choose(
    self, place: gr.SelectData, request: gr.Request
  ) -> tuple[Any, ...]:
    """Compares the sample that was clicked with the photograph."""
    with _one_line():
      compare = self._of(request).compare(place.index)
    return (
      place.index,
      gr.update(visible=True),
      compare,
      gr.update(visible=False),
      gr.update(visible=False),
    )

  def render(self, place: int, request: gr.Request) -> tuple[Any, ...]:
    """Renders the chosen sample at full size."""
    with _one_line():
      session = self._of(request)
      path, command = session.render(place)
    name = pathlib.Path(path).name
    return (
      gr.update(value=path, label=f"Download {name}", visible=True),
      gr.update(value=command, visible=bool(command)),
    )


# Values of the parts from the gallery on: no samples, and none chosen.
_NOTHING: tuple[Any, ...] = (
  [],
  "",
  -1,
  gr.update(visible=False),
  None,
  gr.update(visible=False),
  gr.update(visible=False),
)

# New values of the reference and of the button that saves the hints.
_NO_COLORS: tuple[Any, ...] = (gr.update(value=None), gr.update(value=None))


def captioned(shown: Shown) -> list[tuple[str, str]]:
  """Returns the files with their captions, as the gallery takes them."""
  captions = [f"{k}" for k in range(1, len(shown.files) + 1)]
  if shown.shares:
    captions = [
      f"{name}: {100 * share:.0f} %"
      for name, share in zip(captions, shown.shares, strict=True)
    ]
  return list(zip(shown.files, captions, strict=True))


def _note(shown: Shown) -> str:
  """Returns the text below the samples."""
  lines = [f"{shown.note}.", shown.order]
  if shown.shares:
    lines.append(_SHARES)
  elif shown.takes_more:
    lines.append(_SOON)
  return " ".join(lines)


def painted(value: dict[str, Any]) -> np.ndarray:
  """Returns the painted pixels of a picture, bool [h, w]."""
  layers = [np.asarray(layer)[..., 3] > 0 for layer in value["layers"]]
  return np.any(layers, axis=0) if layers else np.zeros((1, 1), bool)
