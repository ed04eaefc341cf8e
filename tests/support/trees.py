"""Comparison of pytrees."""

import jax
import numpy as np


def assert_same(one, other):
  """Fails unless two trees have the same structure, types and bits."""
  assert jax.tree.structure(one) == jax.tree.structure(other)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    assert a.dtype == b.dtype and a.shape == b.shape
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
