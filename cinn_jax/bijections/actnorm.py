"""Activation normalisation: a scale and a shift per channel."""

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  channels_log_det,
  per_channel,
)


class ActNorm(Bijection):
  """z = (x + bias) * exp(log_scale), per channel; both are learned.

  `init` sets them so that its batch comes out with mean 0 and variance 1 per
  channel, over examples and positions (Kingma and Dhariwal 2018, section 3.1).
  Within a flow, that is the batch as it arrives at this layer. Under `jit` the
  statistics cover the whole batch, however it is sharded over devices. After
  that they are plain parameters: a restored model keeps its own. The batch
  should have many more positions than channels, or deep flows overfit to it
  before the first step: Glow's code takes 256 pictures.

  Setting the scale takes at least two examples that differ. A single example,
  or equal ones such as placeholder zeros, set only the bias, and a channel that
  is 0 everywhere starts as the identity. If `inverse` initialises the layer,
  all of it starts as the identity, because latents say nothing about the data.

  log_det is H * W * sum(log_scale).
  """

  @nn.compact
  def _bias_and_log_scale(self, sample: Array) -> tuple[Array, Array]:
    def bias(_):
      return -jnp.mean(_flat(sample), axis=0)

    def log_scale(_):
      return -_log_std(sample)

    return self.param("bias", bias), self.param("log_scale", log_scale)

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    bias, log_scale = self._bias_and_log_scale(x)
    z = (x + per_channel(bias, x)) * per_channel(jnp.exp(log_scale), x)
    return z, channels_log_det(log_scale, x)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    bias, log_scale = self._bias_and_log_scale(jnp.zeros_like(z))
    x = z * per_channel(jnp.exp(-log_scale), z) - per_channel(bias, z)
    return x, -channels_log_det(log_scale, z)


def _flat(x: Array) -> Array:
  """Reshapes [B, ..., C] to [B * ..., C], in at least float32."""
  return x.reshape(-1, x.shape[-1]).astype(at_least_float32(x.dtype))


def _log_std(x: Array) -> Array:
  """Returns ln(std) per channel [C], or 0 if the examples do not differ.

  A network's padding makes even zeros vary over positions, so variance alone
  does not show that there are data.
  """
  flat = _flat(x)
  spread = jnp.max(jnp.abs(_flat(x - x[:1])), axis=0)
  rounding = 100 * jnp.finfo(flat.dtype).eps * jnp.max(jnp.abs(flat), axis=0)
  differ = spread > rounding
  return jnp.log(jnp.where(differ, jnp.std(flat, axis=0), 1))
