"""The examples in docstrings run as they are written."""

import doctest
import importlib

import pytest

MODULES = ("fitting", "flow", "models.vector")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
  module = importlib.import_module(f"cinn_jax.{name}")
  outcome = doctest.testmod(module)
  assert outcome.failed == 0
  assert outcome.attempted > 0
