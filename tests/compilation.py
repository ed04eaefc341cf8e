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
def little_effort():
  """Tiny networks cost more to optimize than to run."""
  configure(jax_disable_most_optimizations=True)
  try:
    yield
  finally:
    configure(jax_disable_most_optimizations=False)
