"""A CPU's cores kept busy by several calls of a compiled function at once."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

import jax

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# The memory for a call's samples is needed so many times.
_MOST = 2


def in_order(
  function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
  """Yields `function(item)` for each item, as `map` does.

  Where a CPU is the only device, threads work on several items ahead of what is
  taken: XLA runs some kernels, such as convolutions to 64 or fewer channels, on
  one core. `function` has to wait for its result. Elsewhere it is called when
  its result is asked for.

  Args:
    function: called from any thread, on one item at a time in each.
    items: asked for by the caller's thread alone.
  """
  workers = _workers()
  if workers == 1:
    yield from map(function, items)
    return
  with contextlib.ExitStack() as stack:
    pool = futures.ThreadPoolExecutor(workers)
    stack.callback(pool.shutdown, cancel_futures=True)
    waiting = collections.deque()
    for item in items:
      waiting.append(pool.submit(function, item))
      if len(waiting) > workers:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _workers():
  if jax.default_backend() != "cpu" or jax.device_count() > 1:
    return 1
  return min(_MOST, os.cpu_count() or 1)


def in_threads(function, items, num_threads: int) -> Iterator:
  """Maps in threads, in order, with few results waiting at a time."""
  with futures.ThreadPoolExecutor(num_threads) as pool:
    waiting = collections.deque()
    try:
      for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > 2 * num_threads:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      for future in waiting:
        future.cancel()
