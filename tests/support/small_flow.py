"""A small flow of vectors of two numbers, and data for wrong calls of it."""

import jax
import numpy as np

import cinn_jax
from cinn_jax.models.vector_flow import vector_flow

FLOW = cinn_jax.make_flow(
  vector_flow(2, blocks=1, hidden=(4,), coupling="affine"), (2,)
)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(50, 2)).astype(np.float32)
COND = RANDOM.normal(size=(50, 3)).astype(np.float32)
KEY = jax.random.key(0)


class Refuses:
  """As a tensor that lives on another device."""

  def __array__(self, *args, **kwargs):
    raise TypeError("can't convert cuda tensor to numpy")
