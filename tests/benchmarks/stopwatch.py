"""A stopwatch for the time by the clock and the processor time."""

import time


class Stopwatch:
  """Counts from its creation."""

  def __init__(self):
    self._begin = self._now()

  def seconds(self) -> tuple[float, float]:
    """Returns seconds by the clock, and seconds of all threads of the process.

    Other work on the machine changes the second number less.
    """
    now = self._now()
    return now[0] - self._begin[0], now[1] - self._begin[1]

  def _now(self):
    return time.perf_counter(), time.process_time()
