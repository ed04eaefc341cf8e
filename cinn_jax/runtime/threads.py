"""An ordered map over threads, to keep the cores of a CPU busy."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

import jax

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Each call of a sampler that runs at the same time needs its own memory.
_CALLS_AT_ONCE = 2


def in_order(
  function: Callable[[_Item], _Result],
  items: Iterable[_Item],
  workers: int | None = None,
  *,
  ahead: int | None = None,
) -> Iterator[_Result]:
  """Yields `function(item)` for each item in order, computed in threads.

  Closing the iterator early cancels the calls that have not begun and waits
  for the others. An exception is raised in place of the result it belongs to.

  Args:
    function: Called from any thread, with one item at a time in each. It
      should return finished results, not arrays that JAX still computes.
    items: Read by the caller's thread only, as results are taken.
    workers: Number of threads; 0 calls `function` in the caller's thread, when
      its result is asked for. Default: `default_workers()`.
    ahead: Number of calls that may be finished or running before their results
      are asked for. Default: `workers`.
  """
  workers = default_workers() if workers is None else workers
  if workers == 0:
    yield from map(function, items)
    return
  ahead = workers if ahead is None else ahead
  with contextlib.ExitStack() as stack:
    pool = futures.ThreadPoolExecutor(workers)
    stack.callback(pool.shutdown, cancel_futures=True)
    waiting: collections.deque[futures.Future[_Result]] = collections.deque()
    for item in items:
      waiting.append(pool.submit(function, item))
      if len(waiting) > ahead:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def default_workers() -> int:
  """Returns how many threads should call compiled functions at once.

  Two if a CPU is the only device, because XLA runs some kernels on one core,
  such as convolutions to 64 or fewer channels. Otherwise 0.
  """
  is_lone_cpu = jax.default_backend() == "cpu" and jax.device_count() == 1
  return _CALLS_AT_ONCE if is_lone_cpu and (os.cpu_count() or 1) > 1 else 0
