"""Seconds of the clock, and of processors."""

import time


class Stopwatch:
  """Counts from where it is made."""

  def __init__(self):
    self._begin = self._now()

  def seconds(self) -> tuple[float, float]:
    """By the clock, and of this process's threads on all processors.

    Other work on the machine disturbs the second less.
    """
    now = self._now()
    return now[0] - self._begin[0], now[1] - self._begin[1]

  def _now(self):
    return time.perf_counter(), time.process_time()
