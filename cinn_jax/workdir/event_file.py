"""A file of TensorBoard's events, written by the calling thread.

TensorBoardX's own writer has a thread. If that dies, as of a full disk, its
queue fills, and the caller waits for ever.
"""

import pathlib
import time

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class EventFile:
  """One file of events; each call writes what it was given.

  Args:
    folder: Folder of the file, created if needed.
    suffix: Ending of the file's name, which otherwise tells its second.
    purge: TensorBoard hides earlier files' events from this step on; None
      hides none.

  Raises:
    OSError: by every method, if the file cannot be written.
  """

  def __init__(
    self, folder: pathlib.Path, suffix: str, purge: int | None = None
  ):
    folder.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(folder / "events"), suffix)
    if purge is not None:
      start = SessionLog(status=SessionLog.START)
      self._write(Event(step=purge, session_log=start))

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Adds numbers by their tags."""
    for tag, value in values.items():
      self._add(step, summary.scalar(tag, value))
    self._writer.flush()

  def picture(self, step: int, tag: str, image: np.ndarray) -> None:
    """Adds a picture, uint8 [H, W, 3]."""
    self._add(step, summary.image(tag, image, dataformats="HWC"))
    self._writer.flush()

  def close(self) -> None:
    """Closes the file."""
    self._writer.close()

  def _add(self, step: int, content: Summary) -> None:
    self._write(Event(step=step, summary=content))

  def _write(self, event: Event) -> None:
    event.wall_time = time.time()
    self._writer.write_event(event)
