"""Samplers of one flow share their programs."""

import pytest

from tests.support import shared_programs


@pytest.fixture(scope="module", autouse=True)
def _shared_programs():
  with shared_programs.shared():
    yield
