"""Fixtures of the tests of workdirs."""

import jax
import jax.numpy as jnp
import pytest

import cinn_jax
from cinn_jax import make_flow, vector_flow


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A flow, its variables, and a file of them."""
  path = tmp_path_factory.mktemp("saved") / "flow.safetensors"
  flow = make_flow(
    vector_flow(2, blocks=2, hidden=(4,), coupling="affine"), (2,), (3,)
  )
  variables = flow.init(jax.random.key(0), jnp.ones((4, 2)), jnp.ones((4, 3)))
  cinn_jax.save(path, flow, variables)
  return flow, variables, path
