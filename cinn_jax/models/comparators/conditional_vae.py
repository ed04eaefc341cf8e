"""A conditional variational autoencoder (Sohn et al. 2015)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax import likelihood
from cinn_jax.bijections.base import Array, Condition, sum_per_example
from cinn_jax.models.comparators.answer import Answer, answer_parts
from cinn_jax.models.comparators.regression import check_memory
from cinn_jax.models.networks.subnets import compute_dtype_named
from cinn_jax.models.networks.u_net import BottomUp

# Bounds of the logarithm of the code's standard deviation.
_LEAST, _MOST = -7.0, 3.0


class ConditionalVAE(Answer):
  """An `Answer` that is a Gaussian of x, given a code and the condition.

  p(x | c) is the mean over codes v ~ N(0, I) of N(x; m(v, c), s(v, c)^2), with
  its own standard deviation for every number of x. `encoder` gives q(v | x, c).
  Latents are the noise of the pixels and the code, so a sample is m + s *
  noise; temperature 0 for the first level leaves the mean m.

  Attributes:
    encoder: See `u_net.BottomUp`.
    beta: Weight of the divergence of q from N(0, I) in the loss (Higgins et al.
      2017); 1 trains the evidence lower bound itself.
    least_std: Smallest standard deviation s, in units of `std`.
  """

  encoder: Any = None
  beta: float = 1.0
  least_std: float = 1e-3
  title = "a conditional VAE"

  def __call__(self, x: Array, cond: Condition) -> tuple[Any, Any]:
    """Runs all networks; returns the moments of the code and of x."""
    means, log_stds = self.encode(x, cond)
    return (means, log_stds), self.moments(means, cond, x.shape[1:3])

  def encode(
    self, x: Array, cond: Condition
  ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Returns means and bounded log-deviations of q(v | x, cond), by part."""
    features = self.features(cond, x.shape[1:3])
    means, log_stds = self.encoder((x - self.mean) / self.std, features)
    return means, tuple(jnp.clip(part, _LEAST, _MOST) for part in log_stds)

  def moments(
    self, code: Sequence[Array], cond: Condition, size: Sequence[int]
  ) -> tuple[Array, Array]:
    """Returns mean and deviation of x for a code, [B, H, W, C] each."""
    out = self.answer(cond, size, code)
    mean, raw = jnp.split(out, 2, axis=-1)
    return self.to_x(mean), self.std * (self.least_std + nn.softplus(raw))

  def decode(
    self, z: Sequence[Array], cond: Condition, size: Sequence[int]
  ) -> Array:
    """Returns x [B, H, W, C] for the latents (noise, *code)."""
    mean, std = self.moments(z[1:], cond, size)
    return mean + std * z[0]

  @nn.nowrap
  def latent_shapes(
    self, event_shape: Sequence[int], cond_shape: Sequence[int]
  ) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of the noise of x, and of the code."""
    codes = self.code_shapes(event_shape[:2], cond_shape)
    return (tuple(event_shape), *codes)

  def terms(
    self, x: Array, cond: Condition, noise: Sequence[Array]
  ) -> tuple[Array, Array, Array]:
    """Returns ln p(x | v, c), ln p(v) - ln q(v | x, c) and KL(q, p): [B] nats.

    v is drawn from q with standard normal `noise`.
    """
    means, log_stds = self.encode(x, cond)
    code = tuple(
      m + jnp.exp(s) * n for m, s, n in zip(means, log_stds, noise, strict=True)
    )
    mean, std = self.moments(code, cond, x.shape[1:3])
    log_x = likelihood.standard_normal((x - mean) / std)
    log_x -= sum_per_example(jnp.log(std))
    volume = sum_per_part(log_stds)
    log_q = likelihood.standard_normal(tuple(noise)) - volume
    divergence = 0.5 * sum_per_part(
      jnp.exp(2 * s) + m**2 - 1 - 2 * s
      for m, s in zip(means, log_stds, strict=True)
    )
    return log_x, likelihood.standard_normal(code) - log_q, divergence

  @nn.nowrap
  def _terms(self, variables, rng, x, cond):
    shapes = self.code_shapes(x.shape[1:3], cond.shape[1:])
    keys = jax.random.split(rng, len(shapes))
    noise = tuple(
      jax.random.normal(key, (len(x), *shape), x.dtype)
      for key, shape in zip(keys, shapes, strict=True)
    )
    return self.apply(variables, x, cond, noise, method="terms")

  @nn.nowrap
  def loss(
    self, variables: Mapping[str, Any], rng: Array, x: Array, cond: Condition
  ) -> tuple[Array, dict[str, Array]]:
    """Returns the loss in nats/dim, and its parts in bits/dim.

    The loss is minus the evidence lower bound, with weight beta. "bits_per_dim"
    has no beta: it is "bits_of_error", of x given the code, plus
    "bits_of_code", the divergence.
    """
    log_x, _, divergence = self._terms(variables, rng, x, cond)
    dims = math.prod(x.shape[1:])
    error, rate = -jnp.mean(log_x) / dims, jnp.mean(divergence) / dims
    parts = {"bits_of_error": error, "bits_of_code": rate}
    bits = {name: value / math.log(2) for name, value in parts.items()}
    bits["bits_per_dim"] = (error + rate) / math.log(2)
    return error + self.beta * rate, bits

  @nn.nowrap
  def bound(
    self, variables: Mapping[str, Any], rng: Array, x: Array, cond: Condition
  ) -> Array:
    """Returns ln p(x, v | c) - ln q(v | x, c) [B] in nats, for one draw of v.

    The logarithm of the mean of its exponential over draws is the
    importance-weighted bound (Burda et al. 2016).
    """
    log_x, ratio, _ = self._terms(variables, rng, x, cond)
    return log_x + ratio


def sum_per_part(parts: Iterable[Array]) -> Array:
  """Sums all numbers of each example, [B], over arrays [B, ...]."""
  return jnp.sum(jnp.stack([sum_per_example(part) for part in parts]), axis=0)


def conditional_vae(
  *,
  channels: int = 3,
  widths: Sequence[int] = (32, 64, 128),
  blocks: int = 1,
  encoder_widths: Sequence[int] = (32, 64, 128),
  code_channels: Sequence[int] = (0, 0, 4),
  code: int = 64,
  beta: float = 1.0,
  condition_levels: Sequence[Sequence[tuple[int, int]]] = (),
  condition_vector: int = 0,
  condition_pool: int = 2,
  resized: bool = False,
  mean: float = 0.0,
  std: float = 1.0,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalVAE:
  """Builds a conditional VAE of x [B, H, W, channels].

  Encoder and decoder are the halves of a U-Net of residual blocks, and both see
  the features of one condition network. The code consists of a vector and maps.
  Its prior is N(0, I) for every condition.

  Args:
    channels, widths, blocks: See `u_net.TopDown`.
    encoder_widths: Widths of the encoder, one for each of `widths`.
    code_channels, code: See `Answer`.
    beta: See `ConditionalVAE`.
    condition_levels, condition_vector, condition_pool, resized, mean, std,
      memory, compute_dtype: See `regression.regression`.

  Raises:
    ValueError: For settings of different lengths, or no code.
  """
  check_memory(memory)
  if not len(widths) == len(encoder_widths) == len(code_channels):
    raise ValueError(
      "widths, encoder_widths and code_channels have one number per resolution,"
      f" so they must be of one length; got {len(widths)},"
      f" {len(encoder_widths)} and {len(code_channels)}."
    )
  if not code and not any(code_channels):
    raise ValueError("A VAE needs a code: set code or code_channels above 0.")
  parts = answer_parts(
    widths=widths,
    blocks=blocks,
    channels=2 * channels,
    condition_levels=condition_levels,
    condition_vector=condition_vector,
    condition_pool=condition_pool,
    compute_dtype=compute_dtype,
  )
  encoder = BottomUp(
    tuple(encoder_widths),
    tuple(code_channels),
    code,
    blocks,
    compute_dtype_named(compute_dtype),
  )
  return ConditionalVAE(
    **parts,
    encoder=encoder,
    code_channels=tuple(code_channels),
    code=code,
    beta=beta,
    resized=resized,
    mean=mean,
    std=std,
  )
