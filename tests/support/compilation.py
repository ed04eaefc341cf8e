"""How tests compile, in this process and in those that they start."""

import contextlib
import os

import jax


def configure(**options):
  """Sets JAX's options here and in processes started from here."""
  for name, value in options.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


@contextlib.contextmanager
def full_effort():
  """As runs compile: for what is asked of the compiled program itself."""
  configure(jax_disable_most_optimizations=False)
  try:
    yield
  finally:
    configure(jax_disable_most_optimizations=True)
