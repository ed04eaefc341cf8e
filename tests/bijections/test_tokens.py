"""Patches: their transforms, and the order of the numbers of a token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.bijections.tokens import TRANSFORMS, transform_matrix
from tests.support.drawing import normal
from tests.support.refusing import assert_refused

X = normal(0, (2, 8, 4, 3), np.float32)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_transforms_are_orthonormal(name, size):
  matrix = transform_matrix(name, size)
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)


def test_cosine_transform_formula():
  # Its second row of three: cos(pi (i + 1/2) / 3) times sqrt(2/3).
  expected = np.sqrt([[1 / 3] * 3, [1 / 2, 0, 1 / 2], [1 / 6, 2 / 3, 1 / 6]])
  signs = [[1, 1, 1], [1, 1, -1], [1, -1, 1]]
  np.testing.assert_allclose(
    transform_matrix("dct", 3), expected * signs, atol=1e-12
  )


def test_haar_patches_of_two_are_the_wavelet_squeeze():
  tokens, _ = bj.Patches(2, "haar").apply({}, X)
  expected, _ = bj.Haar(rebalance=1.0).apply({}, X)
  np.testing.assert_allclose(tokens, expected, atol=1e-6)


def test_untransformed_patches_are_the_squeeze():
  tokens, _ = bj.Patches(2, "none").apply({}, X)
  np.testing.assert_array_equal(tokens, bj.Squeeze().apply({}, X)[0])


@pytest.mark.parametrize("name", ["dct", "haar"])
def test_first_channels_are_the_means(name):
  tokens, log_det = bj.Patches(4, name).apply({}, X)
  assert tokens.shape == (2, 2, 1, 48)
  means = X.reshape(2, 2, 4, 1, 4, 3).mean((2, 4))
  np.testing.assert_allclose(tokens[..., :3], 4 * means, atol=1e-5)
  np.testing.assert_array_equal(log_det, 0)


def test_vertical_frequency_comes_first():
  rows = jnp.zeros((1, 2, 2, 1)).at[:, 1].set(1.0)
  tokens, _ = bj.Patches(2).apply({}, rows)
  np.testing.assert_allclose(tokens[0, 0, 0], [1, 0, -1, 0], atol=1e-6)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_pictures_that_do_not_fit_raise(method):
  value = jax.ShapeDtypeStruct((2, 4, 5, 7), jnp.float32)
  parts = {
    "forward": ["multiples of 3", "got 4x5", "resize"],
    "inverse": ["multiple of 9 channels", "(2, 4, 5, 7)"],
  }
  assert_refused(bj.Patches(3), method, value, None, parts[method])
  flat = jax.ShapeDtypeStruct((2, 9), jnp.float32)
  assert_refused(bj.Patches(3), method, flat, None, ["takes images"])


def test_tokens_are_in_place():
  """Checks that a token at (i, j) is the patch at (i, j)."""
  inverse = functools.partial(bj.Patches(4).apply, method="inverse")
  z = jnp.zeros((1, 2, 3, 16)).at[0, 1, 2, 0].set(4.0)
  x, _ = inverse({}, z)
  expected = np.zeros((8, 12))
  expected[4:, 8:] = 1
  np.testing.assert_allclose(x[0, ..., 0], expected, atol=1e-6)
