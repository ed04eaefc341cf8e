"""Numbers of a run: `metrics.jsonl`, one object a line, and TensorBoard."""

import json
import os
import pathlib

from tensorboardX import SummaryWriter

from cinn_jax import processes

FILE = "metrics.jsonl"


class Log:
  """Writes scalars and pictures of one run; of several processes the first.

  Opening the log at a step drops the lines after it, which an interrupted run
  wrote and its resumption writes again.
  """

  def __init__(self, workdir, step: int):
    self._board = None
    if not processes.is_first():
      return
    self._path = pathlib.Path(workdir) / FILE
    _truncate(self._path, step)
    self._board = SummaryWriter(
      str(pathlib.Path(workdir) / "tensorboard"), purge_step=step + 1
    )

  def scalars(self, step: int, split: str, values: dict[str, float]):
    """Appends one line `{"step": ..., "split": ..., name: value, ...}`."""
    if self._board is None:
      return
    line = json.dumps({"step": step, "split": split, **values})
    with self._path.open("a") as file:
      file.write(line + "\n")
    for name, value in values.items():
      self._board.add_scalar(f"{split}/{name}", value, step)

  def picture(self, step: int, name: str, image):
    """A picture uint8 [H, W, 3] for TensorBoard."""
    if self._board is not None:
      self._board.add_image(name, image, step, dataformats="HWC")

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._board is not None:
      self._board.close()


def read_log(workdir):
  """What a run logged: a dictionary for each call of `Log.scalars`.

  Raises:
    FileNotFoundError: where nothing was.
  """
  path = pathlib.Path(workdir) / FILE
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


def _truncate(path, step):
  if not path.exists():
    return
  kept = []
  for line in path.read_text().splitlines():
    try:
      entry = json.loads(line)
    except json.JSONDecodeError:
      continue  # the line that a killed process was writing
    if entry["step"] <= step:
      kept.append(line + "\n")
  temporary = path.with_suffix(".tmp")
  temporary.write_text("".join(kept))
  os.replace(temporary, path)
