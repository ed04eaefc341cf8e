"""Regression: the one picture with the least error, equal for all samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.models.comparators.answer import (
  Answer,
  absolute,
  answer_parts,
  squared,
)
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.networks.subnets import compute_dtype_named

ERRORS = {"l1": absolute, "l2": squared}


class Regression(Answer):
  """An `Answer` trained to minimise its error.

  Attributes:
    error: "l2", which the mean of p(x | cond) minimises, or "l1", which its
      median minimises.
  """

  error: str = "l2"
  title = "a regression"

  def __call__(self, x: Array, cond: Condition) -> Array:
    """Returns the answer [B, H, W, C] for data of x's size."""
    return self.decode((), cond, x.shape[1:3])

  def decode(
    self, z: Sequence[Array], cond: Condition, size: Sequence[int]
  ) -> Array:
    """Returns the answer [B, H, W, C]; z has no numbers."""
    return self.to_x(self.answer(cond, size))

  @nn.nowrap
  def latent_shapes(
    self, event_shape: Sequence[int], cond_shape: Sequence[int]
  ) -> tuple[tuple[int, ...], ...]:
    """Returns one empty shape, (0,): there is nothing to draw."""
    return ((0,),)

  @nn.nowrap
  def loss(
    self, variables: Mapping[str, Any], rng: Array, x: Array, cond: Condition
  ) -> tuple[Array, dict[str, Array]]:
    """Returns the mean error, in units of `std`, and no further terms."""
    answer: Any = self.apply(variables, x, cond)
    return jnp.mean(ERRORS[self.error](answer / self.std, x / self.std)), {}


def regression(
  *,
  error: str = "l2",
  channels: int = 3,
  widths: Sequence[int] = (32, 64, 128),
  blocks: int = 1,
  condition_levels: Sequence[Sequence[tuple[int, int]]] = (),
  condition_vector: int = 0,
  condition_pool: int = 2,
  resized: bool = False,
  mean: float = 0.0,
  std: float = 1.0,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> Regression:
  """Builds a regression of x [B, H, W, channels] on its condition.

  A `Pyramid`, the condition network of cINNs, computes features, and a decoder
  of residual blocks combines them from coarse to fine.

  Args:
    error: "l2" or "l1".
    channels, widths, blocks: See `u_net.TopDown`.
    condition_levels, condition_vector, condition_pool: See `Pyramid`; no levels
      for a condition that is a vector.
    resized, mean, std: See `Answer`.
    memory: "store"; here because all models have this setting.
    compute_dtype: A name in `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: For an unknown error.
  """
  check_memory(memory)
  _check(error)
  parts = answer_parts(
    widths=widths,
    blocks=blocks,
    channels=channels,
    condition_levels=condition_levels,
    condition_vector=condition_vector,
    condition_pool=condition_pool,
    compute_dtype=compute_dtype,
  )
  return Regression(**parts, resized=resized, mean=mean, std=std, error=error)


def rrdb_regression(
  *,
  error: str = "l1",
  blocks: int = 23,
  width: int = 64,
  growth: int = 32,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> Regression:
  """Builds the RRDB network of ESRGAN for L1 alone (Wang et al. 2018).

  It enlarges RGB in [0, 1) by a power of 2. ESRGAN starts from it, and papers
  list it as the network that minimises the error.

  Args:
    error: "l1", as published, or "l2".
    blocks, width, growth: See `rrdb.RRDBEncoder`.
    memory, compute_dtype: See `regression`.

  Raises:
    ValueError: For an unknown error.
  """
  check_memory(memory)
  _check(error)
  net = rrdb_net(blocks, width, growth, compute_dtype)
  return Regression(net, None, mean=0.5, std=0.25, error=error)


def rrdb_net(
  blocks: int, width: int, growth: int, compute_dtype: str
) -> RRDBEncoder:
  """Builds an RRDB network for its guess alone, with the fewest features."""
  return RRDBEncoder(
    levels=1,
    blocks=blocks,
    taps=(blocks - 1,),
    width=width,
    growth=growth,
    dtype=compute_dtype_named(compute_dtype),
  )


def check_memory(memory: str) -> None:
  """Raises ValueError for a memory policy, which only a flow's stacks have."""
  if memory != "store":
    raise ValueError(
      f"memory={memory!r} is for flows, which have stacked blocks: set 'store'."
    )


def _check(error):
  if error not in ERRORS:
    raise ValueError(f"error must be {' or '.join(ERRORS)}, got {error!r}.")
