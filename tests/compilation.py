"""How tests compile, in this process and in those that they start."""

import os

import jax


def configure(**options):
  """Sets JAX's options here and in processes started from here."""
  for name, value in options.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)
