"""Learned Gaussian priors, as bijections that standardize latents.

A prior N(mean, std^2) of some latents is the standard normal density of
z = (latents - mean) / std plus the log-det -sum(ln std). So the base of every
flow stays N(0, I), and temperatures and densities need no special case.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  per_channel,
  sum_per_example,
)
from cinn_jax.bijections.conditions import (
  check_condition,
  check_condition_channels,
)
from cinn_jax.bijections.log_scales import affine, soft_clamp
from cinn_jax.bijections.multiscale import Split


class LearnedPrior(Bijection):
  """Standardizes by a Gaussian per channel, which may depend on the condition.

  The mean and the log-std of a channel are learned numbers plus linear maps of
  the condition's leaves at that position; a vector applies to all positions.
  All parameters start at 0, so the prior starts at N(0, I). (Glow's top prior
  and its embedding of the class: Kingma and Dhariwal 2018, published code.)

  Attributes:
    alpha: Bound of the log-std, by the clamp "cinn_paper"; Glow has no bound.
  """

  alpha: float = 2.0

  @nn.compact
  def _head(self, x: Array, cond: Condition) -> Array:
    """Returns means and raw log-stds, [1 or B, ..., 2C]."""
    check_condition(x, cond)
    leaves = jax.tree.leaves(cond)
    check_condition_channels(self, leaves)
    features = 2 * x.shape[-1]
    head = self.param("bias", nn.initializers.zeros, (features,))
    head = per_channel(head, x)
    for k, leaf in enumerate(leaves):
      layer = nn.Dense(
        features,
        use_bias=False,
        kernel_init=nn.initializers.zeros,
        name=f"condition_{k}",
      )
      part = layer(leaf)
      head += part.reshape(
        part.shape[0], *(1,) * (x.ndim - part.ndim), *part.shape[1:]
      )
    return head

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return _standardize(x, self._head(x, cond), self.alpha)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return _restore(z, self._head(z, cond), self.alpha)


class PriorSplit(Bijection):
  """A split that standardizes the emitted half, given the rest.

  `split` takes x to (emitted, rest). Then emitted becomes (emitted - mean) /
  std, where a network of the rest and the condition predicts the mean and the
  log-std. (Kingma and Dhariwal 2018, published code; SRFlow, Lugmayr et al.
  2020.)

  Attributes:
    split: The split, which says which channels leave.
    net: Makes a network `net(rest, cond, features)`, like the `subnet` of a
      `Coupling`. In both papers it is a 3x3 convolution that starts at 0.
    alpha: Bound of the log-std, by the clamp "cinn_paper"; the papers have no
      bound.
  """

  split: Split
  net: Callable[[], nn.Module]
  alpha: float = 2.0

  def setup(self) -> None:
    self.network = self.net()

  def forward(
    self, x: Array, cond: Condition = None
  ) -> tuple[tuple[Array, Array], Array]:
    (emitted, rest), _ = self.split.forward(x)
    z, log_det = _standardize(
      emitted, self._head(rest, cond, emitted), self.alpha
    )
    return (z, rest), log_det

  def inverse(
    self, z: tuple[Array, Array], cond: Condition = None
  ) -> tuple[Array, Array]:
    latent, rest = z
    emitted, log_det = _restore(
      latent, self._head(rest, cond, latent), self.alpha
    )
    return self.split.inverse((emitted, rest))[0], log_det

  def _head(self, rest: Array, cond: Condition, emitted: Array) -> Array:
    check_condition(rest, cond)
    return self.network(rest, cond, 2 * emitted.shape[-1])


def _standardize(x: Array, head: Array, alpha: float) -> tuple[Array, Array]:
  mean, log_std = _mean_and_log_std(x, head, alpha)
  z = affine(x, log_std, mean, inverse=True)
  return z, -sum_per_example(log_std)


def _restore(z: Array, head: Array, alpha: float) -> tuple[Array, Array]:
  mean, log_std = _mean_and_log_std(z, head, alpha)
  x = affine(z, log_std, mean, inverse=False)
  return x, sum_per_example(log_std)


def _mean_and_log_std(
  x: Array, head: Array, alpha: float
) -> tuple[Array, Array]:
  """Returns both with the shape of x, in at least float32."""
  head = head.astype(at_least_float32(x.dtype))
  mean, raw = jnp.split(head, 2, axis=-1)
  log_std = soft_clamp("cinn_paper", raw, alpha)
  return jnp.broadcast_to(mean, x.shape), jnp.broadcast_to(log_std, x.shape)
