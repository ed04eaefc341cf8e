"""HCFlow: an exact likelihood, although coarse levels steer finer ones."""

import jax
import numpy as np

from cinn_jax.models.hcflow import hcflow
from tests.support.drawing import draw_variables, normal


def test_round_trip_and_log_det():
  model = hcflow(
    levels=2,
    depth=2,
    detail_depth=2,
    hidden=4,
    blocks=1,
    encoder_width=4,
    encoder_growth=3,
    log_std=-1.0,
    channels=1,
  )
  x, cond = normal(0, (2, 8, 4, 1)), normal(1, (2, 2, 1, 1))
  variables = draw_variables(model, 2, x, cond)

  def flat(x):
    z, log_det = model.apply(variables, x, cond)
    leaves = [leaf.reshape(2, -1) for leaf in z]
    return jax.numpy.concatenate(leaves, -1)[0], (z, log_det)

  jacobian, (z, log_det) = jax.jit(jax.jacfwd(flat, has_aux=True))(x)
  dense = np.asarray(jacobian).reshape(32, 2, 32)
  np.testing.assert_allclose(
    log_det[0], np.linalg.slogdet(dense[:, 0])[1], atol=1e-8
  )
  np.testing.assert_array_equal(dense[:, 1], 0)
  back, minus = model.apply(variables, z, cond, method="inverse")
  np.testing.assert_allclose(back, x, atol=1e-8)
  np.testing.assert_allclose(minus, -log_det, rtol=1e-9)
