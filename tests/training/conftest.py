"""These tests train, and so mostly compile."""

import pytest

from tests.compilation import little_effort


@pytest.fixture(autouse=True, scope="package")
def _compile_with_little_effort():
  with little_effort():
    yield
