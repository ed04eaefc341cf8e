"""Pyramids: exact likelihoods, alone and together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import likelihood
from cinn_jax.models.wavelet_flow import wavelet_flow
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL

X = normal(0, (2, 8, 8, 1))
COND = {
  "lightness": normal(1, (2, 16, 16, 1)),
  "hints": normal(2, (2, 8, 8, 3)),
  "features": {4: normal(3, (2, 4, 4, 5)), 2: normal(4, (2, 2, 2, 6))},
}


def _flat(tree):
  leaves = jax.tree.leaves(tree)
  return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], -1)


# The whole condition of a base that is given: the small picture itself.
SMALL_PICTURE = normal(5, (2, 4, 4, 1))


def _make(**options):
  return wavelet_flow(**{**SMALL, "channels": 1, **options})


@pytest.mark.parametrize(
  "base, cond, given",
  [
    ("autoregressive", COND, False),
    pytest.param("coupling", SMALL_PICTURE, True, marks=pytest.mark.slow),
    pytest.param("coupling", COND, False, marks=pytest.mark.slow),
    pytest.param("autoregressive", None, False, marks=pytest.mark.slow),
    pytest.param("coupling", None, False, marks=pytest.mark.slow),
  ],
  ids=[
    *("autoregressive", "given", "coupling"),
    *("autoregressive-alone", "coupling-alone"),
  ],
)
def test_round_trip_and_log_det(base, cond, given):
  model = _make(base=base, base_given=given)
  variables = draw_variables(model, 7, X, cond)

  @jax.jit
  def run(variables, x, cond):
    def forward(x):
      z, log_det = model.apply(variables, x, cond)
      return _flat(z)[0], (z, log_det)

    jacobian, (z, log_det) = jax.jacfwd(forward, has_aux=True)(x)
    back, minus = model.apply(variables, z, cond, method="inverse")
    shares = model.apply(variables, x, cond, method="log_prob_by_level")
    return jacobian, z, log_det, back, minus, shares

  jacobian, z, log_det, back, minus, shares = run(variables, X, cond)
  assert [len(leaf[0].reshape(-1)) for leaf in z] == [48, 16]
  np.testing.assert_allclose(back, X, atol=1e-9)
  np.testing.assert_allclose(minus, -log_det, rtol=1e-9)
  dense = np.asarray(jacobian).reshape(64, 2, 64)
  expected = np.linalg.slogdet(dense[:, 0])[1]
  np.testing.assert_allclose(log_det[0], expected, atol=1e-8)
  np.testing.assert_array_equal(dense[:, 1], 0)
  total = likelihood.log_prob(z, log_det).total
  assert set(shares) == {"4", "8"}
  np.testing.assert_allclose(sum(shares.values()), total, rtol=1e-12)


def _part(variables, name):
  return {k: {name: tree[name]} for k, tree in variables.items()}


@pytest.mark.slow
def test_levels_alone_are_shares_of_the_whole():
  variables = draw_variables(_make(), 7, X, COND)
  shares = jax.jit(
    lambda v: _make().apply(v, X, COND, method="log_prob_by_level")
  )(variables)
  for level in (4, 8):
    alone = _make(level=level)
    own = _part(variables, f"levels_{level}")

    @jax.jit
    def run(own, alone=alone):
      z, log_det = alone.apply(own, X, COND)
      errors = alone.apply(own, X, COND, method="reconstruction_errors")
      return likelihood.log_prob(z, log_det).total, errors

    total, errors = run(own)
    np.testing.assert_allclose(total, shares[str(level)], rtol=1e-12)
    assert set(errors) == {"round_trip", str(level)}
    assert max(np.max(error) for error in errors.values()) < 1e-9


def test_a_level_does_not_see_finer_ones_nor_its_own_details():
  variables = draw_variables(_make(), 7, X, COND)
  fine = np.tile([[1.0, -1.0], [-1.0, 1.0]], (4, 4))[None, :, :, None]

  @jax.jit
  def latents(x):
    return _make().apply(variables, x, COND)[0]

  before, after = latents(X), latents(X + fine)
  # Its 2x2 means are 0: the coarse level stays as it is.
  np.testing.assert_allclose(after[1], before[1], atol=1e-12)
  assert np.abs(after[0] - before[0]).min(axis=(1, 2)).max() > 1e-3
