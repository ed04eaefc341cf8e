"""Normalisation inside a condition network of a flow."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array
from cinn_jax.models.networks.subnets import initializers


class Norm(nn.Module):
  """Normalisation that is the same function in both directions of a flow.

  Attributes:
    kind: "group" normalises over the image and an eighth of its channels.
      "batch" always uses running statistics: with statistics of the current
      batch, forward in training and inverse in sampling would disagree.
    init_std: None starts scale at 1 and bias at 0; a number draws both from
      N(0, init_std^2).
    momentum: A training step (collection "batch_stats" mutable) moves the
      running statistics by `1 - momentum` of the difference.
    epsilon: Number added to variances.
  """

  kind: str
  init_std: float | None = None
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: Array) -> Array:
    channels = x.shape[-1]
    scale_init, bias_init = nn.initializers.ones, nn.initializers.zeros
    if self.init_std is not None:
      scale_init, bias_init = initializers(self.init_std)
    if self.kind == "group":
      groups = 8 if channels % 8 == 0 else 1
      return nn.GroupNorm(
        groups,
        epsilon=self.epsilon,
        scale_init=scale_init,
        bias_init=bias_init,
        name="norm",
      )(x)
    if self.kind != "batch":
      raise ValueError(f"norm is 'group' or 'batch', got {self.kind!r}.")
    scale = self.param("scale", scale_init, (channels,))
    bias = self.param("bias", bias_init, (channels,))
    mean, variance = self._running_statistics(x)
    scale = scale * jax.lax.rsqrt(variance + self.epsilon)
    shape = (1,) * (x.ndim - 1) + (channels,)
    shift = bias - mean * scale
    return x * scale.reshape(shape) + shift.reshape(shape)

  def _running_statistics(self, x):
    channels = x.shape[-1]
    mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
    variance = self.variable("batch_stats", "var", jnp.ones, (channels,))
    used = mean.value, variance.value
    is_training = self.is_mutable_collection("batch_stats")
    if is_training and not self.is_initializing():
      axes = tuple(range(x.ndim - 1))
      x = jax.lax.stop_gradient(x).astype(jnp.float32)
      for running, batch in (
        (mean, jnp.mean(x, axes)),
        (variance, jnp.var(x, axes)),
      ):
        running.value += (1 - self.momentum) * (batch - running.value)
    return used
