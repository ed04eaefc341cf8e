"""Numbers of a run: `metrics.jsonl`, one object a line, and TensorBoard."""

import json
import pathlib
import tempfile

from tensorboardX import SummaryWriter

from cinn_jax.runtime import processes, storage

FILE = "metrics.jsonl"


class Log:
  """Writes scalars and pictures of one run; of several processes the first.

  Opening the log at a step drops the lines after it, which an interrupted run
  wrote and its resumption writes again. A bucket, which has no appending, gets
  the log by `upload`, and when it is closed.
  """

  def __init__(self, workdir, step: int):
    self._is_first = processes.is_first()
    if not self._is_first:
      return
    self._workdir = folder = storage.path(workdir)
    self._temporary = None
    if storage.in_bucket(folder):
      self._temporary = tempfile.TemporaryDirectory()
      folder = pathlib.Path(self._temporary.name)
    self._path = folder / FILE
    kept = _kept(self._workdir / FILE, step)
    if kept is not None:
      storage.write_whole(self._path, kept.encode())
    self._events, self._parts = folder / "tensorboard", 0
    self._board = None
    self._purge = {"purge_step": step + 1}

  def scalars(self, step: int, split: str, values: dict[str, float]):
    """Appends one line `{"step": ..., "split": ..., name: value, ...}`."""
    if not self._is_first:
      return
    line = json.dumps({"step": step, "split": split, **values})
    with self._path.open("a") as file:
      file.write(line + "\n")
    for name, value in values.items():
      self._events_file().add_scalar(f"{split}/{name}", value, step)

  def picture(self, step: int, name: str, image):
    """A picture uint8 [H, W, 3] for TensorBoard."""
    if self._is_first:
      board = self._events_file()
      board.add_image(name, image, step, dataformats="HWC")

  def upload(self):
    """Brings what a bucket does not have yet there; a folder has it all."""
    if not self._is_first or self._temporary is None or self._board is None:
      return
    # Each file of events is brought once: together they grow large.
    self._board.close()
    self._board = None
    storage.upload(self._path.parent, self._workdir)
    for file in self._events.iterdir():
      file.unlink()

  def _events_file(self):
    if self._board is None:
      self._parts += 1
      self._board = SummaryWriter(
        str(self._events),
        # Of several within a second, each needs a name.
        filename_suffix=f".{self._parts}",
        **self._purge,
      )
      self._purge = {}
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
        self._board.close()
      if self._temporary is not None:
        self._temporary.cleanup()


def read_log(workdir):
  """What a run logged: a dictionary for each call of `Log.scalars`.

  Raises:
    FileNotFoundError: where nothing was.
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
      continue  # the line that is being written
  return rows


def _kept(path, step):
  """The lines of a log up to a step, or None where there is no log."""
  if not path.exists():
    return None
  kept = []
  for line in path.read_text().splitlines():
    try:
      entry = json.loads(line)
    except json.JSONDecodeError:
      continue  # the line that a killed process was writing
    if entry["step"] <= step:
      kept.append(line + "\n")
  return "".join(kept)
