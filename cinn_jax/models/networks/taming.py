"""Networks that see numbers far from the data compressed.

A network of ReLUs grows linearly with its input, without end. In a chain of
couplings, one number far from the data then makes larger ones, and these still
larger ones: some samples explode, and densities fall to e^-10000 a short way
outside of a small data set. Compressed inputs end this, and change nothing near
the data.
"""

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.models.networks.subnets import Subnet


def compress(x: Array, far: float) -> Array:
  """Returns x, which grows like a logarithm where |x| is above `far`."""
  beyond = jnp.maximum(jnp.abs(x) - far, 0)
  return jnp.clip(x, -far, far) + jnp.sign(x) * jnp.log1p(beyond)


class TamedSubnet(Subnet):
  """A `Subnet` that sees numbers far from the data compressed.

  Attributes:
    far: Absolute value above which its half of x is compressed. Of standardized
      Gaussian data, one number in 370 is above 3.
    condition: Whether the condition is compressed too, if it is a part of what
      is sampled.
  """

  far: float = 3.0
  condition: bool = False

  def __call__(self, u: Array, cond: Condition, features: int) -> Array:
    """Maps as `Subnet` does."""
    if self.condition:
      cond = jax.tree.map(lambda leaf: compress(leaf, self.far), cond)
    return super().__call__(compress(u, self.far), cond, features)
