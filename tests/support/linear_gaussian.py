"""A problem with a Gaussian posterior, and a flow for it."""

import jax
import numpy as np

import cinn_jax
from cinn_jax.models.vector_flow import vector_flow

# theta ~ N(0, I), x = A theta + N(0, 0.5^2 I): the posterior is Gaussian.
MATRIX = np.array([[1.0, 0.5], [-0.3, 0.8], [0.2, 0.2]], np.float32)
NOISE = 0.5
FLOW = cinn_jax.make_flow(
  vector_flow(2, blocks=3, hidden=(32,), coupling="affine", linear_start=False),
  (2,),
)


def simulate(rng, batch_size):
  key_theta, key_noise = jax.random.split(rng)
  theta = jax.random.normal(key_theta, (batch_size, 2))
  noise = NOISE * jax.random.normal(key_noise, (batch_size, 3))
  return theta, theta @ MATRIX.T + noise


def draw_data():
  """Returns 8,000 pairs of theta and x."""
  return jax.tree.map(np.asarray, simulate(jax.random.key(0), 8000))
