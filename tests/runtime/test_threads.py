"""Several calls at once, in order, and none too many."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.runtime import threads


@pytest.fixture(params=[1, 3])
def workers(request, monkeypatch):
  monkeypatch.setattr(threads, "_workers", lambda: request.param)
  return request.param


def test_results_come_in_the_order_of_the_items(workers):
  begun = [threading.Event() for _ in range(9)]

  def function(k):
    begun[k].set()
    # Of several at once, the first are the last to end.
    if workers > 1 and k % workers == 0 and k + 1 < len(begun):
      assert begun[k + 1].wait(10)
    return k, threading.get_ident()

  results = list(threads.in_order(function, range(9)))
  assert [k for k, _ in results] == list(range(9))
  idents = {thread for _, thread in results}
  if workers == 1:
    assert idents == {threading.get_ident()}
  else:
    assert 1 < len(idents) <= workers


def test_items_are_taken_as_results_are(workers):
  taken, before = [], set(threading.enumerate())
  items = (taken.append(k) or k for k in range(100))
  results = threads.in_order(lambda k: k, items)
  for k in range(20):
    assert next(results) == k
  assert len(taken) <= 20 + workers
  results.close()
  assert set(threading.enumerate()) <= before


def test_an_error_is_raised_where_its_result_would_be(workers):
  results = threads.in_order(lambda k: 6 // k, [3, 2, 0, 1])
  assert [next(results), next(results)] == [2, 3]
  with pytest.raises(ZeroDivisionError):
    next(results)


def test_a_compiled_function_gives_the_same_bits(workers):
  multiply = jax.jit(lambda a: jnp.tanh(a @ a))
  items = list(jax.random.normal(jax.random.key(0), (8, 256, 256)))
  expected = [np.asarray(multiply(item)) for item in items]
  results = threads.in_order(lambda k: np.asarray(multiply(k)), items)
  for actual, wanted in zip(results, expected, strict=True):
    np.testing.assert_array_equal(actual, wanted)


def test_a_single_cpu_device_gets_several(monkeypatch):
  monkeypatch.setattr("os.cpu_count", lambda: 1)
  assert threads._workers() == 1
  monkeypatch.setattr("os.cpu_count", lambda: 64)
  assert threads._workers() == 2
  monkeypatch.setattr(jax, "device_count", lambda: 8)
  assert threads._workers() == 1
  monkeypatch.setattr(jax, "device_count", lambda: 1)
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert threads._workers() == 1
