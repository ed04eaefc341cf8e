"""Fixed mixing of channels between couplings.

The matrices live in the collection "constants": saved with the model, never
trained, never counted.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Bijection, zero_log_det


class Permutation(Bijection):
  """A fixed random permutation of the channels; log_det is 0.

  Attributes:
    seed: None draws from the initialisation's random stream; an integer takes
      numpy's legacy generator at that seed, as the published cINNs do.
  """

  seed: int | None = None

  @nn.compact
  def _order(self, channels):
    def draw():
      if self.seed is None:
        return jax.random.permutation(self.make_rng("params"), channels)
      legacy = np.random.RandomState(self.seed)
      return jnp.asarray(legacy.permutation(channels), jnp.int32)

    return self.variable("constants", "order", draw).value

  def forward(self, x, cond=None):
    order = self._order(x.shape[-1])
    return jnp.take(x, order, axis=-1), zero_log_det(x)

  def inverse(self, z, cond=None):
    order = jnp.argsort(self._order(z.shape[-1]))
    return jnp.take(z, order, axis=-1), zero_log_det(z)


class Orthogonal(Bijection):
  """A fixed random orthogonal mixing of the channels, z = x Q; log_det is 0.

  The "soft permutation" of the ImageNet cINN (Ardizzone et al. 2019). Q is
  drawn uniformly over the orthogonal group.
  """

  @nn.compact
  def _matrix(self, channels, dtype):
    def draw():
      return jax.random.orthogonal(self.make_rng("params"), channels)

    return self.variable("constants", "matrix", draw).value.astype(dtype)

  def forward(self, x, cond=None):
    matrix = self._matrix(x.shape[-1], x.dtype)
    return jnp.matmul(x, matrix, precision="highest"), zero_log_det(x)

  def inverse(self, z, cond=None):
    matrix = self._matrix(z.shape[-1], z.dtype)
    return jnp.matmul(z, matrix.T, precision="highest"), zero_log_det(z)
