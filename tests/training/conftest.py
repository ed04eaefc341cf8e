"""These tests train, and so mostly compile."""

import pytest

from tests import tiny


@pytest.fixture(autouse=True, scope="package")
def compilation(tmp_path_factory):
  with tiny.quick_compilation(tmp_path_factory.getbasetemp() / "compiled"):
    yield
