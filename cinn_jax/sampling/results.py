"""A folder of samples: files, sheets, and samples.json, which lists them.

A file that is not in the list is never overwritten: results then take other
names. The list grows with each picture, so an interrupted batch can go on. If
the settings have changed, the earlier results are removed first.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any

import numpy as np

from cinn_jax.images import reading, sheets, writing
from cinn_jax.runtime import storage
from cinn_jax.sampling import result_list
from cinn_jax.sampling.forecast import Forecast
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import Ranked
from cinn_jax.sampling.result_list import digest_of, files_of, place_of
from cinn_jax.sampling.thumbnails import thumbnail

# Limits of a sheet, so that viewers can open it.
_ROWS, _COLUMNS = 24, 18
# Ending of the map of a picture's odds; its samples end in a number.
_ODDS = "_odds"


class Results:
  """The samples in one folder.

  Args:
    folder: Folder for results; created if needed.
    settings: Everything that samples depend on, as JSON. Results with other
      settings are removed.
    titles: Titles of the first columns of a sheet, before "sample 1".
    note: Caption of each sheet.
    only: Numbers of the samples that are written, ascending; empty for all.

  Raises:
    ValueError: if the folder has a samples.json from another program, or is a
      file.
    OSError: if it cannot be made.
  """

  def __init__(
    self,
    folder: Any,
    settings: dict[str, Any],
    titles: Sequence[str],
    note: str,
    only: Sequence[int] = (),
  ):
    self.folder = storage.path(folder)
    _make(self.folder)
    self._settings = json.loads(json.dumps(settings))
    self._titles, self._note, self._only = titles, note, list(only)
    self._pictures: dict[str, dict[str, Any]] = {}
    self._failed: dict[str, str] = {}
    self._sheets: list[str] = []
    self._rows: list[tuple[str, list[np.ndarray]]] = []
    # Names of entries that this command has begun to write.
    self._begun: set[str] = set()
    earlier = result_list.read(self.folder)
    # Sheets are made again at the end.
    self._remove(earlier.get("sheets", ()))
    if earlier.get("settings") == self._settings:
      self._pictures = earlier["pictures"]
    elif earlier:
      entries = earlier["pictures"].values()
      files = [file for entry in entries for file in files_of(entry)]
      if files:
        print(
          f"Removing {len(files):,} samples of other settings from"
          f" {self.folder}."
        )
      self._remove(files)
    own = {f for entry in self._pictures.values() for f in files_of(entry)}
    self._foreign = {name.casefold() for name in self._names()} - {
      file.casefold() for file in own
    }

  def finished(self, item: Item) -> bool:
    """Tells if the samples of an item already exist."""
    entry = self._entry(item)
    return (
      entry is not None
      and entry["digest"] == digest_of(item)
      and entry.get("only", []) == self._only
      and self._is_whole(entry)
    )

  def _is_whole(self, entry):
    return all(_exists(self.folder / file) for file in files_of(entry))

  def add(
    self,
    item: Item,
    head: Sequence[np.ndarray],
    bits: Sequence[float],
    ranked: Ranked,
    chunks: Iterable[tuple[Sequence[int], Sequence[np.ndarray]]],
    suffix: str,
    save: Callable[[Any, np.ndarray], None],
    forecast: Forecast | None = None,
  ) -> None:
    """Writes the samples of an item, and lists them.

    Args:
      item: The item that was answered.
      head: Small pictures at the start of its row on the sheet.
      bits: bits/dim of the samples, most likely first.
      ranked: The numbers and the shares of the samples.
      chunks: Pairs of ranks and pictures, as many of each.
      suffix: Ending of the files, such as ".jpg".
      save: Function `save(path, picture)`.
      forecast: The odds of the item's colours, or None.
    """
    ranks = ranked.ranks or range(1, len(bits) + 1)
    name = self._free_name(item, max(ranks), forecast is not None)
    entry = self._pictures[name] = {
      "input": item.path,
      "place": place_of(item),
      "digest": digest_of(item),
      "files": [f"{name}_{k}{suffix}" for k in ranks],
      "draws": ranked.numbers,
      # JSON has no NaN, which stands for a model without a likelihood.
      "bits_per_dim": [None if isnan(v) else float(v) for v in bits],
    }
    if self._only:
      entry["only"] = self._only
    if ranked.shares is not None:
      entry["shares"] = list(ranked.shares)
    if forecast is not None:
      entry["odds"] = {"file": f"{name}{_ODDS}.png", **forecast.content}
    # Listed before they exist: files of an interrupted command are then known
    # as its own.
    self._begun.add(name)
    self._write()
    small = list(head)
    for numbers, pictures in chunks:
      for k, picture in zip(numbers, pictures, strict=True):
        save(self.folder / f"{name}_{k}{suffix}", picture)
        if len(small) < _COLUMNS:
          small.append(thumbnail(picture))
    if forecast is not None:
      writing.save_png(self.folder / entry["odds"]["file"], forecast.picture)
    self._failed.pop(item.path or item.name, None)
    self._add_row(name, small)
    self._write()

  def keep(self, item: Item, head: Sequence[np.ndarray]) -> None:
    """Adds an item that was finished earlier to the sheets."""
    name = self._name_of(item)
    files = self._pictures[name]["files"][: _COLUMNS - len(head)]
    shown = [thumbnail(reading.decode(self.folder / file)) for file in files]
    self._add_row(name, [*head, *shown])

  def fail(self, item: Item, reason: str) -> None:
    """Lists an item that could not be answered."""
    name = self._name_of(item)
    if name in self._begun and not self._is_whole(self._pictures[name]):
      self._remove(files_of(self._pictures.pop(name)))
    self._failed[item.path or item.name] = reason
    self._write()

  def finish(self) -> list[str]:
    """Writes the last sheet, and returns the names of all sheets."""
    self._write_sheet()
    self._write()
    return self._sheets

  @property
  def failed(self) -> dict[str, str]:
    """Reasons by input."""
    return self._failed

  def __len__(self) -> int:
    return len(self._pictures)

  def _names(self):
    return (
      [
        path.relative_to(self.folder).as_posix()
        for path in self.folder.rglob("*")
      ]
      if not storage.in_bucket(self.folder) and self.folder.exists()
      else []
    )

  def _remove(self, files):
    for file in files:
      if _exists(self.folder / file):
        (self.folder / file).unlink()

  def _entry(self, item):
    name = self._name_of(item)
    return None if name is None else self._pictures[name]

  def _name_of(self, item):
    if item.path is None:
      return item.name if item.name in self._pictures else None
    place = place_of(item)
    # A copy, since other threads add to it.
    entries = list(self._pictures.items())
    for name, entry in entries:
      if entry.get("place") == place:
        return name
    # A folder that was moved, or a list of an earlier version.
    same = {k: entry for k, entry in entries if entry["input"] == item.path}
    try:
      digest = digest_of(item) if same else None
    except OSError:  # It is gone.
      return None
    matches = (name for name in same if same[name]["digest"] == digest)
    return next(matches, None)

  def _free_name(self, item, count, has_odds):
    """Returns a name that no files have, except files of this command."""
    if name := self._name_of(item):
      old = self._pictures.pop(name)
      kinds = {
        "with other numbers": old.get("only", []) != self._only,
        "as it was before": old["digest"] != digest_of(item),
      }
      if why := " and ".join(kind for kind, is_so in kinds.items() if is_so):
        print(
          f"Removing {len(files_of(old)):,} samples of {name} {why} from"
          f" {self.folder}."
        )
      self._remove(files_of(old))
    taken = {
      file.rpartition(".")[0].casefold() if "." in file else file.casefold()
      for file in self._foreign
    }
    used = {name.casefold() for name in self._pictures}
    for k in itertools.count(1):
      name = item.name if k == 1 else f"{item.name}-{k}"
      stems = {f"{name}_{n}".casefold() for n in range(1, count + 1)}
      stems |= {f"{name}{_ODDS}".casefold()} if has_odds else set()
      if name.casefold() not in used and not stems & taken:
        break
    if name != item.name:
      print(
        f"{self.folder} has other files with names like {item.name}_1, which"
        f" are kept: results for {item.path or item.name} are named {name}_1"
        " and so on."
      )
    return name

  def _add_row(self, name, pictures):
    self._rows.append((name, pictures))
    if len(self._rows) == _ROWS:
      self._write_sheet()

  def _write_sheet(self):
    if not self._rows:
      return
    names = (
      "sheet.png" if k == 1 else f"sheet-{k}.png" for k in itertools.count(1)
    )
    name = next(
      n for n in names if n not in self._foreign and n not in self._sheets
    )
    longest = max(len(row) for _, row in self._rows)
    count = longest - len(self._titles)
    numbers = self._only[:count] or range(1, count + 1)
    sheet = sheets.contact_sheet(
      [row for _, row in self._rows],
      [*self._titles, *(f"sample {k}" for k in numbers)],
      [name for name, _ in self._rows],
      note=self._note,
    )
    writing.save_png(self.folder / name, sheet)
    self._sheets.append(name)
    self._rows = []

  def _write(self):
    result_list.write(
      self.folder,
      {
        "settings": self._settings,
        "pictures": self._pictures,
        "failed": self._failed,
        "sheets": self._sheets,
      },
    )


def _make(folder):
  """Makes the folder now: an error would come after the first answer."""
  if storage.in_bucket(folder):
    return
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except (FileExistsError, NotADirectoryError):
    raise ValueError(f"--outputs={folder} is a file: name a folder.") from None
  except OSError as error:
    raise OSError(
      f"Cannot write in {folder} ({error.strerror}): pass another --outputs."
    ) from None


def _exists(path):
  try:
    return path.exists()
  except OSError:  # Its name is too long for any file.
    return False
