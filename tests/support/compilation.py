"""Options of JAX for this process and for those that tests start."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax


def set_option(name: str, value: Any) -> bool:
  """Sets an option of JAX in this process; returns False if JAX has none."""
  try:
    jax.config.update(name, value)
  except AttributeError:
    return False
  return True


def configure(**options: Any) -> None:
  """Sets options in this process and in those that it starts later.

  Options that this version of JAX does not have are skipped.
  """
  for name, value in options.items():
    if set_option(name, value):
      os.environ[name.upper()] = str(value)


@contextlib.contextmanager
def full_effort() -> Iterator[None]:
  """Compiles as a run does, for tests of the compiled program itself."""
  configure(jax_disable_most_optimizations=False)
  try:
    yield
  finally:
    configure(jax_disable_most_optimizations=True)
