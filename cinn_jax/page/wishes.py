"""The requests of a tab: hints, a reference and settings of `--mode=sample`."""

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cinn_jax.images import reading
from cinn_jax.page.runs import SHOWN
from cinn_jax.page.view import View
from cinn_jax.sampling import hints
from cinn_jax.sampling.photograph import Photograph
from cinn_jax.sampling.photos import Photos, Steering


class Settings(NamedTuple):
  """Settings of `--mode=sample`.

  Attributes:
    seed: Seed of the samples.
    temperature: Temperature as text, see `temperatures.parse`.
    spread: Draws 64 samples and shows eight that are far apart, as
      `--diverse=8` does, not the first eight.
  """

  seed: int = 0
  temperature: str = "1"
  spread: bool = False


class Colors:
  """The known colours of one photograph.

  Attributes:
    points: The hints.
    matches: Hints from the reference.
  """

  def __init__(self) -> None:
    self.points: Sequence[hints.Point] = ()
    self.matches: Sequence[hints.Point] = ()
    self._reference = ""

  @property
  def all(self) -> list[hints.Point]:
    """All hints, in the order of `--mode=sample`."""
    return [*self.points, *self.matches]

  def load(self, file: str, path: pathlib.Path, view: View) -> None:
    """Replaces the hints by those of a file, read as `--hints` reads it.

    Raises:
      ValueError: if it holds no hints, or some are outside the photograph.
    """
    known = hints.read(file)
    points = hints.of_photo(known, str(path))
    if not points:
      others = ", ".join(known) if isinstance(known, Mapping) else ""
      raise ValueError(
        f"{pathlib.Path(file).name} has no hints for {path.name}"
        f"{others and f', only for {others}'}: load another file."
      )
    view.check(points)
    self.points = points

  def refer(
    self, sampler: Photos, photograph: Photograph, file: str | None
  ) -> None:
    """Takes hints from a second photograph; None removes those of the last.

    Raises:
      UnreadableImage: if the photograph cannot be read.
    """
    self.matches, self._reference = (), ""
    if file is not None:
      steering = Steering(reference=reading.decode(file))
      self.matches = sampler.points(photograph, steering)
      self._reference = pathlib.Path(file).name

  def flags(self, path: pathlib.Path) -> list[str]:
    """Returns the flags for the photograph at this path."""
    flags = [f"--hints={hints_name(path)}"] if self.points else []
    if self._reference:
      flags.append(f"--reference={self._reference}")
    return flags


def hints_name(path: pathlib.Path) -> str:
  """Returns the name of the file with a photograph's hints."""
  return f"{path.stem}_hints.json"


def command(words: Sequence[str], settings: Settings, place: int) -> str:
  """Returns the command that writes one of the samples of a page.

  Args:
    words: Flags for the run, the photograph and its colours.
    settings: The settings.
    place: The sample's place, from 0.
  """
  words = ["python", "-m", "cinn_jax.main", "--mode=sample", *words]
  words += [f"--seed={settings.seed}", f"--temperature={settings.temperature}"]
  # With --diverse, all eight are written, under the same names.
  chosen = f"--diverse={SHOWN}" if settings.spread else f"--only={place + 1}"
  return shlex.join([*words, chosen])
