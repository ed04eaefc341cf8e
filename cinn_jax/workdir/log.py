"""The log of a run: `metrics.jsonl`, one object per line, and TensorBoard."""

import contextlib
import json
import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from cinn_jax.runtime import processes, storage
from cinn_jax.workdir.event_file import EventFile

FILE = "metrics.jsonl"


class Log:
  """Writes the scalars and pictures of a run, in its first process only.

  Opening the log at a step drops all later lines: the resumed run writes them
  again. Files in a bucket cannot be appended to, so the log goes to a local
  folder first, and to the bucket by `upload` and when it is closed.

  Args:
    workdir: Folder of the run.
    step: Number of steps taken so far.
  """

  def __init__(self, workdir: str | os.PathLike[str], step: int):
    self._is_first = processes.is_first()
    if not self._is_first:
      return
    self._workdir = folder = storage.path(workdir)
    self._temporary: tempfile.TemporaryDirectory | None = None
    if storage.in_bucket(folder):
      self._temporary = tempfile.TemporaryDirectory()
      folder = pathlib.Path(self._temporary.name)
    self._path = folder / FILE
    earlier = _lines_up_to(self._workdir / FILE, step)
    if earlier is not None:
      with _advice(folder):
        storage.write_whole(self._path, earlier.encode())
    self._events, self._parts = folder / "tensorboard", 0
    self._board: EventFile | None = None
    self._purge: int | None = step + 1

  def scalars(self, step: int, split: str, values: dict[str, float]) -> None:
    """Appends one line `{"step": ..., "split": ..., name: value, ...}`."""
    if not self._is_first:
      return
    line = json.dumps({"step": step, "split": split, **values})
    with _advice(self._path.parent):
      with self._path.open("a") as file:
        file.write(line + "\n")
      named = {f"{split}/{name}": value for name, value in values.items()}
      self._events_file().scalars(step, named)

  def picture(self, step: int, name: str, image: np.ndarray) -> None:
    """Adds a picture, uint8 [H, W, 3], to TensorBoard."""
    if self._is_first:
      with _advice(self._path.parent):
        self._events_file().picture(step, name, image)

  def upload(self) -> None:
    """Uploads what a bucket does not have yet; does nothing for a folder."""
    if not self._is_first or self._temporary is None or self._board is None:
      return
    # Each event file is uploaded once: together they grow large.
    self._board.close()
    self._board = None
    storage.upload(self._path.parent, self._workdir)
    for file in self._events.iterdir():
      file.unlink()

  def _events_file(self):
    if self._board is None:
      self._parts += 1
      # Files written within the same second need different names.
      self._board = EventFile(self._events, f".{self._parts}", self._purge)
      self._purge = None
    return self._board

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if not self._is_first:
      return
    try:
      self.upload()
    finally:
      if self._board is not None:
        with _advice(self._path.parent):
          self._board.close()
      if self._temporary is not None:
        self._temporary.cleanup()


@contextlib.contextmanager
def _advice(folder):
  """Names the folder in an error, and says what to do."""
  try:
    yield
  except OSError as error:
    raise OSError(
      f"Cannot write the log in {folder} ({error.strerror}): make room, or"
      " check its permissions, and start again."
    ) from None


def read_log(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the log of a run: a dictionary for each call of `Log.scalars`.

  Raises:
    FileNotFoundError: if nothing was logged.
  """
  path = storage.path(workdir) / FILE
  if not path.exists():
    raise FileNotFoundError(
      f"No run in {workdir} has logged anything yet: pass the --workdir of one."
    )
  rows = []
  for line in path.read_text().splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      continue  # A line that is still being written.
  return rows


def _lines_up_to(path, step):
  """Returns the lines of a log up to a step, or None if there is no log."""
  if not path.exists():
    return None
  lines = []
  for line in path.read_text().splitlines():
    try:
      entry = json.loads(line)
    except json.JSONDecodeError:
      continue  # A line that a killed process was writing.
    if entry["step"] <= step:
      lines.append(line + "\n")
  return "".join(lines)
