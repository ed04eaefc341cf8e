"""Token flows in float64: log_det, round trip, causality."""

import functools

import jax
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.token_networks import CausalTransformer
from cinn_jax.models.token_flow import KINDS
from tests.support import token_flows
from tests.support.drawing import draw_variables, normal


@pytest.mark.parametrize(
  "conditioned", [True, pytest.param(False, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_log_det_and_round_trip(kind, conditioned):
  module, variables, x, cond = token_flows.case(
    kind, scale=0.3, dtype=np.float64, conditioned=conditioned
  )
  z, log_det = token_flows.jitted(module)(variables, x, cond)
  back, other = token_flows.jitted(module, "inverse")(variables, z, cond)
  np.testing.assert_allclose(back, x, atol=1e-8)
  np.testing.assert_allclose(other, -log_det, atol=1e-8)

  @jax.jit
  @jax.jacfwd
  def jacobian(flat):
    out, _ = module.apply(variables, flat.reshape(1, 4, 4, 2), cond[:1])
    return out.reshape(-1)

  expected = np.linalg.slogdet(jacobian(x[0].reshape(-1)))[1]
  assert abs(expected) > 0.1
  np.testing.assert_allclose(log_det[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_latents_see_only_tokens_before_them(reverse):
  network = functools.partial(CausalTransformer, 8, 2, heads=2)
  block = bj.AutoregressiveBlock(network, reverse=reverse)
  x, cond = normal(0, (1, 2, 3, 2)), normal(1, (1, 2, 3, 4))
  variables = draw_variables(block, 2, x, cond)

  @jax.jit
  @jax.jacfwd
  def jacobian(flat):
    z, _ = block.apply(variables, flat.reshape(x.shape), cond)
    return z.reshape(6, 2)

  # [latent, number, token, number]
  blocks = np.asarray(jacobian(x.reshape(-1))).reshape(6, 2, 6, 2)
  for i in range(6):
    for j in range(6):
      part = blocks[i, :, j]
      before = j > i if reverse else j < i
      if i == j:
        # The numbers of a token do not see each other.
        np.testing.assert_array_equal(part, np.diag(np.diagonal(part)))
        assert np.diagonal(part).min() > 0
      elif before:
        assert np.abs(part).min() > 1e-8
      else:
        np.testing.assert_array_equal(part, 0)
