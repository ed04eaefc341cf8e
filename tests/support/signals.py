"""A signal that arrives at a chosen moment."""

import os


def signal_once(monkeypatch, owner, name, number, when=lambda *_: True):
  """Makes a method send a signal to its own process, once.

  Args:
    monkeypatch: The test's fixture.
    owner: Class that has the method.
    name: Name of the method.
    number: Number of the signal.
    when: `when(*arguments)` chooses the call. Default: the first one.
  """
  method = getattr(owner, name)
  sent = []

  def wrapped(self, *arguments):
    if not sent and when(*arguments):
      sent.append(True)
      os.kill(os.getpid(), number)
    return method(self, *arguments)

  monkeypatch.setattr(owner, name, wrapped)
