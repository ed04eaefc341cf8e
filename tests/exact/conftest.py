"""Fixtures of the exact tests, which run only in float64."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _float64():
  assert jax.config.jax_enable_x64, "run with JAX_ENABLE_X64=1"
