"""The platform that functions are traced for.

Some functions are traced differently for a CPU. On the way to another machine's
program, a CPU traces what that machine would trace.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_TARGET: contextvars.ContextVar[str | None] = contextvars.ContextVar(
  "target", default=None
)


def platform() -> str:
  """Returns "cpu", "gpu" or "tpu": where what is traced now will run."""
  return _TARGET.get() or jax.default_backend()


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
  """Sets `platform` in its block.

  JAX keeps what it has traced. So a function that was traced before, for
  another platform, has to be another object.
  """
  token = _TARGET.set(platform)
  try:
    yield
  finally:
    _TARGET.reset(token)
