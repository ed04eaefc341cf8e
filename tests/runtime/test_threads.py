"""An ordered map over threads."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.runtime import threads


@pytest.fixture(params=[0, 1, 3])
def workers(request):
  return request.param


def test_results_are_in_order(workers):
  begun = [threading.Event() for _ in range(9)]

  def function(k):
    begun[k].set()
    # Of the calls that run at the same time, the first ends last.
    if workers > 1 and k % workers == 0 and k + 1 < len(begun):
      assert begun[k + 1].wait(10)
    return k, threading.get_ident()

  results = list(threads.in_order(function, range(9), workers))
  assert [k for k, _ in results] == list(range(9))
  idents = {thread for _, thread in results}
  if workers == 0:
    assert idents == {threading.get_ident()}
  else:
    assert threading.get_ident() not in idents
    assert min(workers, 2) <= len(idents) <= workers


@pytest.mark.parametrize("ahead", [None, 5])
def test_few_results_wait(workers, ahead):
  taken, before = [], set(threading.enumerate())
  items = (taken.append(k) or k for k in range(100))
  results = threads.in_order(lambda k: k, items, workers, ahead=ahead)
  for k in range(20):
    assert next(results) == k
  assert len(taken) == 20 + (ahead or workers) * (workers > 0)
  results.close()
  assert set(threading.enumerate()) <= before


def test_closing_early_cancels_the_rest():
  called, leave = [], threading.Event()

  def function(k):
    called.append(k)
    return k == 0 or leave.wait(10)

  results = threads.in_order(function, range(50), 1, ahead=30)
  assert next(results) is True
  # Closing waits for the call that runs.
  threading.Timer(0.1, leave.set).start()
  results.close()
  assert called in ([0], [0, 1])


def test_errors_are_raised_in_order(workers):
  results = threads.in_order(lambda k: 6 // k, [3, 2, 0, 1], workers)
  assert [next(results), next(results)] == [2, 3]
  with pytest.raises(ZeroDivisionError):
    next(results)


def test_compiled_functions_give_the_same_bits(workers):
  multiply = jax.jit(lambda a: jnp.tanh(a @ a))
  items = list(jax.random.normal(jax.random.key(0), (8, 256, 256)))
  expected = [np.asarray(multiply(item)) for item in items]
  results = threads.in_order(lambda k: np.asarray(multiply(k)), items, workers)
  for actual, wanted in zip(results, expected, strict=True):
    np.testing.assert_array_equal(actual, wanted)


def test_only_a_lone_cpu_gets_workers_by_default(monkeypatch):
  monkeypatch.setattr("os.cpu_count", lambda: 1)
  assert threads.default_workers() == 0
  monkeypatch.setattr("os.cpu_count", lambda: 64)
  assert threads.default_workers() == 2
  monkeypatch.setattr(jax, "device_count", lambda: 8)
  assert threads.default_workers() == 0
  monkeypatch.setattr(jax, "device_count", lambda: 1)
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert threads.default_workers() == 0
