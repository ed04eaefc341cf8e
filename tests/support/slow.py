"""Variants of a test, of which only some run without `-m slow`."""

from collections.abc import Iterable

import pytest


def all_but(quick: Iterable[str], names: Iterable[str]) -> list:
  """Returns `names` as parameters of a test; all that are not quick are slow.

  Raises ValueError if a quick one is not among the names.
  """
  quick, names = set(quick), list(names)
  if quick - set(names):
    raise ValueError(f"No such variants: {sorted(quick - set(names))}.")
  return [
    name if name in quick else pytest.param(name, marks=pytest.mark.slow)
    for name in names
  ]
