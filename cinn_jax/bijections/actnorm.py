"""Activation normalisation: a scale and a shift per channel."""

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Bijection,
  at_least_float32,
  channels_log_det,
  per_channel,
)


class ActNorm(Bijection):
  """z = (x + bias) * exp(log_scale), per channel; both are learned.

  They start so that the batch given to `init` comes out with mean 0 and
  variance 1 per channel, over examples and positions (Kingma and Dhariwal
  2018, section 3.1); within a flow that is the batch as it arrives here. Under
  `jit` the statistics are of the whole batch, however it is spread over
  devices. Afterwards they are plain parameters: nothing is set again after a
  restore.

  A scale needs two examples that differ: from a single one, or from equal ones
  such as zeros that stand in for data, only the bias is set, and a channel
  that is everywhere 0 starts as the identity. Initialised by `inverse`, all of
  it does: latents say nothing of the data.

  log_det is H * W * sum(log_scale).
  """

  @nn.compact
  def _bias_and_log_scale(self, sample):
    def bias(_):
      return -jnp.mean(_flat(sample), axis=0)

    def log_scale(_):
      return -_log_std(sample)

    return self.param("bias", bias), self.param("log_scale", log_scale)

  def forward(self, x, cond=None):
    bias, log_scale = self._bias_and_log_scale(x)
    z = (x + per_channel(bias, x)) * per_channel(jnp.exp(log_scale), x)
    return z, channels_log_det(log_scale, x)

  def inverse(self, z, cond=None):
    bias, log_scale = self._bias_and_log_scale(jnp.zeros_like(z))
    x = z * per_channel(jnp.exp(-log_scale), z) - per_channel(bias, z)
    return x, -channels_log_det(log_scale, z)


def _flat(x):
  """[B, ..., C] to [B * ..., C] in at least float32."""
  return x.reshape(-1, x.shape[-1]).astype(at_least_float32(x.dtype))


def _log_std(x):
  """ln of the standard deviation per channel, 0 where examples do not differ.

  Padding makes even zeros vary over positions, so variance alone does not show
  that there are data.
  """
  flat = _flat(x)
  spread = jnp.max(jnp.abs(_flat(x - x[:1])), axis=0)
  rounding = 100 * jnp.finfo(flat.dtype).eps * jnp.max(jnp.abs(flat), axis=0)
  differ = spread > rounding
  return jnp.log(jnp.where(differ, jnp.std(flat, axis=0), 1))
