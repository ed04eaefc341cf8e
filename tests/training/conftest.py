"""These tests train, and so mostly compile."""

import pytest

from tests.compilation import configure


@pytest.fixture(autouse=True, scope="package")
def _compile_with_little_effort():
  configure(jax_disable_most_optimizations=True)
  yield
  configure(jax_disable_most_optimizations=False)
