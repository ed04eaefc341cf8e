"""Docstrings: examples run as they are written, first lines read well."""

import ast
import doctest
import importlib
import pathlib

import pytest

import cinn_jax
from tests.support import tiny, untrained

MODULES = (
  *("flow", "images.notebook", "models.vector_flow", "sampling.temperatures"),
  *("training.fitting", "training.step", "images.color_names"),
  "sampling.odds",
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
  """A folder with the workdir `workdirs/mnist-digits`."""
  folder = tmp_path_factory.mktemp("examples")
  untrained.make_workdir(tiny.digits(), folder / "workdirs/mnist-digits")
  return folder


@pytest.mark.parametrize(
  "name",
  ["cinn_jax", "cinn_jax.workdir.portable", "cinn_jax.workdir.trained"],
)
def test_examples_of_a_trained_workdir_run(folder_of_a_run, monkeypatch, name):
  monkeypatch.chdir(folder_of_a_run)
  _run_examples(name)


def test_public_names_are_documented():
  assert set(cinn_jax.__all__) <= set(dir(cinn_jax))
  for name in cinn_jax.__all__:
    assert getattr(cinn_jax, name).__doc__, name
    assert name in cinn_jax.__doc__, name


@pytest.mark.parametrize(
  "name", ["fit", "load", "make_flow", "restore", "save", "vector_flow"]
)
def test_what_users_start_with_has_an_example(name):
  assert ">>>" in getattr(cinn_jax, name).__doc__


# Bare words that a docstring's first line must not begin with: it says what
# something does or is.
_QUESTIONS = ("What", "Where", "How", "Whether", "Which", "Of", "Who")
ROOT = pathlib.Path(__file__).parents[1]


def _docstrings(path):
  tree = ast.parse(path.read_text())
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(tree):
    if isinstance(node, kinds):
      text = ast.get_docstring(node)
      if text:
        yield getattr(node, "lineno", 1), text.partition("\n")[0]


def test_docstrings_begin_with_a_verb_or_a_noun():
  folders = ("cinn_jax", "configs", "launch", "tests")
  paths = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
  assert len(paths) > 250
  wrong = [
    f"{path.relative_to(ROOT)}:{line}: {first}"
    for path in paths
    for line, first in _docstrings(path)
    if first.split(" ")[0].rstrip(",") in _QUESTIONS
  ]
  assert not wrong, "\n".join(wrong)
