"""The open tabs, by the names that gradio gives them."""

import pathlib
import shutil
import threading

from cinn_jax.page.session import Gone, Session


class Sessions:
  """One session for each tab.

  Args:
    folder: Folder for the files of all tabs.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._lock = threading.Lock()
    self._open: dict[str, Session] = {}
    self._closed: set[str] = set()
    self._count = 0

  def __len__(self) -> int:
    return len(self._open)

  def of(self, tab: str) -> Session:
    """Returns a tab's session, which begins with its first event.

    Raises:
      Gone: if the tab was closed.
    """
    with self._lock:
      if tab in self._closed:
        raise Gone
      if tab not in self._open:
        self._count += 1
        self._open[tab] = Session(self._folder / f"tab-{self._count}")
      return self._open[tab]

  def close(self, tab: str) -> None:
    """Ends a tab's session, if it has one, and removes its files."""
    with self._lock:
      self._closed.add(tab)
      session = self._open.pop(tab, None)
    if session is not None:
      session.close()

  def close_all(self) -> None:
    """Ends all sessions."""
    for tab in list(self._open):
      self.close(tab)
    shutil.rmtree(self._folder, ignore_errors=True)
