"""How a bijection refuses wrong input: in one sentence."""

import functools

import jax
import pytest


def assert_refused(bijection, method, value, cond, says):
  """Fails unless `method` raises ValueError in one sentence with all it says.

  Shapes suffice: `value` and `cond` may be `jax.ShapeDtypeStruct`.
  """
  with pytest.raises(ValueError) as error:
    jax.eval_shape(
      functools.partial(bijection.init, method=method),
      jax.random.key(0),
      value,
      cond,
    )
  message = str(error.value)
  for part in says:
    assert part in message, message
  assert message.endswith("."), message
  assert "\n" not in message, message
