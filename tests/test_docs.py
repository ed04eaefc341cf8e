"""The examples in docstrings run as they are written."""

import doctest
import importlib

import pytest

import cinn_jax
from tests.support import tiny, untrained

MODULES = (
  *("flow", "images.notebook", "models.vector_flow", "sampling.temperatures"),
  *("training.fitting", "training.step"),
)


def _run_examples(name):
  module = importlib.import_module(name)
  outcome = doctest.testmod(module)
  assert outcome.failed == 0
  assert outcome.attempted > 0


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
  _run_examples(f"cinn_jax.{name}")


@pytest.fixture(scope="module")
def folder_of_a_run(tmp_path_factory):
  """Where `workdirs/mnist-digits` is a workdir."""
  folder = tmp_path_factory.mktemp("examples")
  untrained.make_workdir(tiny.digits(), folder / "workdirs/mnist-digits")
  return folder


@pytest.mark.parametrize("name", ["cinn_jax", "cinn_jax.workdir.trained"])
def test_examples_of_a_trained_workdir_run(folder_of_a_run, monkeypatch, name):
  monkeypatch.chdir(folder_of_a_run)
  _run_examples(name)


def test_public_names_are_documented():
  assert set(cinn_jax.__all__) <= set(dir(cinn_jax))
  for name in cinn_jax.__all__:
    public = getattr(cinn_jax, name)
    assert public.__doc__, name
    # A tuple of functions describes its fields; the others are shown in use.
    assert ">>>" in public.__doc__ or hasattr(public, "_fields"), name
