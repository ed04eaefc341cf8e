"""A check that a bijection rejects wrong input with a helpful message."""

import functools

import jax
import pytest


def assert_refused(bijection, method, value, cond, parts):
  """Fails unless `method` raises ValueError with one line that has all `parts`.

  `value` and `cond` may be `jax.ShapeDtypeStruct`.
  """
  with pytest.raises(ValueError) as error:
    jax.eval_shape(
      functools.partial(bijection.init, method=method),
      jax.random.key(0),
      value,
      cond,
    )
  message = str(error.value)
  for part in parts:
    assert part in message, message
  assert message.endswith("."), message
  assert "\n" not in message, message
