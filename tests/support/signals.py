"""A signal at a moment that a test chooses."""

import os


def signal_once(monkeypatch, owner, name, number, when=lambda *_: True):
  """The method sends a signal to its own process on the call that `when` is."""
  method = getattr(owner, name)
  sent = []

  def wrapped(self, *arguments):
    if not sent and when(*arguments):
      sent.append(True)
      os.kill(os.getpid(), number)
    return method(self, *arguments)

  monkeypatch.setattr(owner, name, wrapped)
