"""Mixings of channels: formulas, initial values and names."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from tests.support.drawing import draw_variables, normal


def _init(bijection, x):
  return jax.jit(bijection.init)(jax.random.key(3, impl="rbg"), x)


def _run(bijection, variables, value, method="forward"):
  run = jax.jit(functools.partial(bijection.apply, method=method))
  return run(variables, jnp.asarray(value))


def _matrix(bijection, variables, channels, method="forward"):
  """Returns W of z = x W: its rows are the images of unit vectors."""
  return np.asarray(_run(bijection, variables, np.eye(channels), method)[0])


@pytest.mark.parametrize("conv", [bj.InvertibleConv1x1(), bj.FullConv1x1()])
@pytest.mark.parametrize("channels", [1, 24])
def test_conv_1x1_starts_orthogonal(channels, conv):
  variables = _init(conv, jnp.zeros((2, channels)))
  matrix = _matrix(conv, variables, channels)
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-5)
  _, log_det = _run(conv, variables, np.ones((2, 8, 8, channels)))
  np.testing.assert_allclose(log_det, 0, atol=1e-3)
  if channels > 1:
    assert np.abs(matrix - np.eye(channels)).max() > 0.5


def test_conv_1x1_formula():
  conv = bj.InvertibleConv1x1()
  x = normal(0, (2, 3, 3, 5), np.float32)
  variables = draw_variables(conv, 1, x)
  order, sign = (
    np.asarray(variables["constants"][k]) for k in ("order", "sign")
  )
  assert sorted(order) == list(range(5))
  assert set(np.abs(sign)) == {1}
  lu = np.asarray(variables["params"]["lu"])
  lower = np.tril(lu, -1) + np.eye(5)
  upper = np.triu(lu, 1) + np.diag(sign * np.exp(np.diag(lu)))
  permutation = np.zeros((5, 5))
  permutation[order, range(5)] = 1
  expected = permutation @ lower @ upper
  matrix = _matrix(conv, variables, 5)
  np.testing.assert_allclose(matrix, expected, atol=1e-5)
  z, log_det = _run(conv, variables, x)
  np.testing.assert_allclose(z, x @ expected, atol=1e-4)
  volume = np.linalg.slogdet(expected)[1]
  np.testing.assert_allclose(log_det, 9 * volume, rtol=1e-4)
  back = _matrix(conv, variables, 5, "inverse")
  np.testing.assert_allclose(back @ expected, np.eye(5), atol=1e-4)


def test_conv_1x1_has_one_square_parameter():
  variables = _init(bj.InvertibleConv1x1(), jnp.zeros((2, 4, 4, 6)))
  assert {k: v.shape for k, v in variables["params"].items()} == {"lu": (6, 6)}
  assert {k: v.shape for k, v in variables["constants"].items()} == {
    "order": (6,), "sign": (6,),
  }  # fmt: skip


def test_conv_1x1_copies_start_orthogonal_and_differ():
  stack = bj.Stack(bj.InvertibleConv1x1(), 2)
  variables = _init(stack, jnp.zeros((2, 6)))
  matrices = []
  for k in range(2):
    own = jax.tree.map(lambda leaf, k=k: leaf[k], variables)
    own = {name: tree["block"] for name, tree in own.items()}
    matrices.append(_matrix(bj.InvertibleConv1x1(), own, 6))
    np.testing.assert_allclose(
      matrices[k] @ matrices[k].T, np.eye(6), atol=1e-5
    )
  assert np.abs(matrices[0] - matrices[1]).max() > 0.1


def test_conv_1x1_round_trip_in_float32():
  conv = bj.InvertibleConv1x1()
  x = normal(2, (4, 8, 8, 48), np.float32)
  variables = _init(conv, x)
  z, _ = _run(conv, variables, x)
  back, _ = _run(conv, variables, z, "inverse")
  np.testing.assert_allclose(back, x, atol=2e-5)


def test_full_conv_1x1_formula():
  conv = bj.FullConv1x1()
  x = normal(0, (2, 3, 3, 5), np.float32)
  variables = draw_variables(conv, 1, x)
  matrix = np.asarray(variables["params"]["matrix"])
  z, log_det = _run(conv, variables, x)
  np.testing.assert_allclose(z, x @ matrix, atol=1e-5)
  volume = np.linalg.slogdet(matrix)[1]
  np.testing.assert_allclose(log_det, 9 * volume, rtol=1e-4)


def test_full_conv_1x1_round_trip_far_from_orthogonal():
  conv, channels = bj.FullConv1x1(), 48
  left, right = (
    np.linalg.qr(normal(seed, (channels, channels)))[0] for seed in (5, 6)
  )
  # Scales that differ by a factor of 1000.
  matrix = left @ np.diag(np.geomspace(30, 0.03, channels)) @ right
  variables = {"params": {"matrix": jnp.asarray(matrix, jnp.float32)}}
  x = normal(7, (2, 8, 8, channels), np.float32)
  z, _ = _run(conv, variables, x)
  again, _ = _run(conv, variables, _run(conv, variables, z, "inverse")[0])
  np.testing.assert_allclose(again, z, atol=2e-5)


def test_cayley_formula():
  cayley = bj.Cayley()
  below = jnp.asarray(normal(8, (10,)), jnp.float32)
  variables = {"params": {"below_diagonal": below}}
  matrix = _matrix(cayley, variables, 5)
  skew = np.zeros((5, 5))
  skew[np.tril_indices(5, -1)] = below
  skew -= skew.T
  expected = np.linalg.inv(np.eye(5) + skew) @ (np.eye(5) - skew)
  np.testing.assert_allclose(matrix, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_cayley_is_a_rotation_for_all_parameters(scale):
  variables = jax.tree.map(
    lambda leaf: scale * leaf, _init(bj.Cayley(), jnp.zeros((2, 24)))
  )
  matrix = _matrix(bj.Cayley(), variables, 24)
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(24), atol=1e-5)
  np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-4)
  back = _matrix(bj.Cayley(), variables, 24, "inverse")
  np.testing.assert_allclose(back, matrix.T, atol=1e-6)
  if scale == 1:
    assert np.abs(matrix - np.eye(24)).max() > 0.5


@pytest.mark.parametrize(
  "channels, k, atol",
  [(3, 1, 1e-6), (5, 4, 1e-6), (16, 16, 1e-6), (3, 8, 3e-6)],
)
def test_householder_formula(channels, k, atol):
  householder = bj.Householder(k)
  variables = _init(householder, jnp.zeros((2, channels)))
  vectors = np.asarray(variables["params"]["vectors"], np.float64)
  assert vectors.shape == (k, channels)
  expected = np.eye(channels)
  for v in vectors:
    expected = expected @ (np.eye(channels) - 2 * np.outer(v, v) / (v @ v))
  matrix = _matrix(householder, variables, channels)
  np.testing.assert_allclose(matrix, expected, atol=atol)
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=atol)
  inverse = _matrix(householder, variables, channels, "inverse")
  np.testing.assert_allclose(inverse, expected.T, atol=atol)


@pytest.mark.parametrize(
  "vectors",
  [np.ones((6, 4)), 1e15 * np.eye(4), 1e-15 * np.eye(4)],
  ids=["equal", "long", "short"],
)
def test_householder_is_orthogonal_for_all_vectors(vectors):
  """Checks also that the determinant is (-1)^k for k reflections."""
  variables = {"params": {"vectors": jnp.asarray(vectors, jnp.float32)}}
  matrix = _matrix(bj.Householder(len(vectors)), variables, 4)
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-6)
  sign = (-1) ** len(vectors)
  np.testing.assert_allclose(np.linalg.det(matrix), sign, atol=1e-5)


def test_zero_vector_reflects_nothing():
  vectors = jnp.zeros((2, 3)).at[0, 0].set(5.0)
  householder = bj.Householder(2)
  matrix = _matrix(householder, {"params": {"vectors": vectors}}, 3)
  np.testing.assert_allclose(matrix, np.diag([-1.0, 1, 1]), atol=1e-6)

  def last(vectors):
    z, _ = householder.apply({"params": {"vectors": vectors}}, jnp.ones((1, 3)))
    return z[0, 2]

  assert np.isfinite(jax.jit(jax.grad(last))(vectors)).all()


@pytest.mark.parametrize(
  "mixing",
  [
    bj.Orthogonal(),
    bj.InvertibleConv1x1(),
    bj.FullConv1x1(),
    bj.Cayley(),
    bj.Householder(2),
  ],
)
def test_half_precision_data_are_mixed_in_float32(mixing):
  x = jnp.asarray(normal(4, (2, 6)), jnp.bfloat16)
  variables = _init(mixing, x)
  z, _ = _run(mixing, variables, x)
  assert z.dtype == jnp.float32
  back, _ = _run(mixing, variables, z, "inverse")
  np.testing.assert_allclose(back, x.astype(jnp.float32), atol=1e-5)


@pytest.mark.parametrize("name", bj.MIXINGS)
def test_named_mixing_is_invertible(name):
  mixing = bj.mixing_named(name)()
  x = normal(9, (2, 3, 3, 5), np.float32)
  variables = _init(mixing, x)
  z, log_det = _run(mixing, variables, x)
  assert z.shape == x.shape
  assert np.abs(z - x).max() > 0.1
  back, inverse_log_det = _run(mixing, variables, z, "inverse")
  np.testing.assert_allclose(back, x, atol=1e-5)
  np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-5)


def test_unknown_mixing_raises():
  with pytest.raises(ValueError) as error:
    bj.mixing_named("shuffle")
  assert "Unknown mixing 'shuffle'" in str(error.value)
  for name in bj.MIXINGS:
    assert name in str(error.value)
