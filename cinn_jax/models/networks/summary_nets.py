"""Condition networks for vectors, sets and short time series.

Each maps observations to one vector [B, features], which a flow for vectors
takes as its condition. A set or series is an array [B, N, D], or with padding
{"values": [B, N, D], "mask": [B, N]}. The mask is true for values that count;
all others have no influence.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition


class VectorNet(nn.Module):
  """Dense layers with ReLU between them: [B, D] to [B, features].

  The default widths are those of the fully connected embedding in the toolbox
  sbi (Tejero-Cantero et al. 2020): 50 and 20. Departure: no ReLU after the last
  layer.

  Attributes:
    hidden: Widths of the hidden layers.
    features: Number of outputs.
  """

  hidden: Sequence[int] = (50,)
  features: int = 20

  @nn.compact
  def __call__(self, cond: Array) -> Array:
    for width in self.hidden:
      cond = nn.relu(nn.Dense(width)(cond))
    return nn.Dense(self.features)(cond)


class SetNet(nn.Module):
  """A function of a set: [B, N, D] in any order to [B, features].

  It computes rho(mean over the elements of phi(element)). Zaheer et al. 2017
  ("Deep Sets", theorem 2) show that this form is general; a mean in place of
  the sum makes sets of all sizes look alike. phi and rho have the widths of the
  invariant network in the software BayesFlow (Radev et al. 2020): two layers of
  64 each, then 10 features. Departures: no equivariant layers before phi; rho
  also sees the logarithm of the set's size, since the width of a posterior
  depends on it.

  Attributes:
    inner, outer: Widths of the layers of phi and rho, with ReLU after each.
    features: Number of outputs.
    size_feature: Whether rho sees the size of the set.
  """

  inner: Sequence[int] = (64, 64)
  outer: Sequence[int] = (64, 64)
  features: int = 10
  size_feature: bool = True

  @nn.compact
  def __call__(self, cond: Condition) -> Array:
    hidden, mask = values_and_mask(cond, "SetNet")
    for k, width in enumerate(self.inner):
      hidden = nn.relu(nn.Dense(width, name=f"inner_{k}")(hidden))
    size = jnp.maximum(jnp.sum(mask, axis=1), 1.0)
    hidden = jnp.sum(hidden * mask, axis=1) / size
    if self.size_feature:
      hidden = jnp.concatenate([hidden, jnp.log(size)], axis=-1)
    for k, width in enumerate(self.outer):
      hidden = nn.relu(nn.Dense(width, name=f"outer_{k}")(hidden))
    return nn.Dense(self.features, name="out")(hidden)


class SeriesNet(nn.Module):
  """Convolutions and an LSTM over time: [B, T, D] to [B, features].

  This is the time-series network of the software BayesFlow, after Radev et al.
  2021 ("OutbreakFlow"), with its sizes: two layers of parallel causal
  convolutions of kernels 1 and 2 with 32 filters, each followed by a
  convolution of kernel 1 with 32 filters; an LSTM of 64; 10 features of its
  last state. Padding comes at the end.

  Attributes:
    filters: Number of filters of each convolution.
    kernels: Sizes of the parallel convolutions.
    layers: Number of layers of convolutions.
    state: Size of the LSTM's state.
    features: Number of outputs.
  """

  filters: int = 32
  kernels: Sequence[int] = (1, 2)
  layers: int = 2
  state: int = 64
  features: int = 10

  @nn.compact
  def __call__(self, cond: Condition) -> Array:
    hidden, mask = values_and_mask(cond, "SeriesNet")
    for _ in range(self.layers):
      parallel = [
        nn.relu(nn.Conv(self.filters, (kernel,), padding="CAUSAL")(hidden))
        for kernel in self.kernels
      ]
      hidden = jnp.concatenate(parallel, axis=-1)
      hidden = nn.relu(nn.Conv(self.filters, (1,))(hidden))
    length = jnp.sum(mask, axis=(1, 2)).astype(jnp.int32)
    lstm = nn.RNN(nn.OptimizedLSTMCell(self.state), return_carry=True)
    (_, last), _ = lstm(hidden, seq_lengths=length)
    # An empty series has no last state, and its padding must not count.
    last = jnp.where(length[:, None] > 0, last, 0)
    return nn.Dense(self.features)(last)


def values_and_mask(cond: Condition, title: str) -> tuple[Array, Array]:
  """Returns values [B, N, D], with zeros as padding, and the mask [B, N, 1].

  Both have the same type. `title` is the network's name used in error messages.

  Raises:
    ValueError: If the condition is not as the module docstring describes.
  """
  if isinstance(cond, dict):
    if set(cond) != {"values", "mask"}:
      raise ValueError(
        f"{title} takes an array or a dict of values and mask, got a dict of"
        f" {', '.join(map(repr, sorted(cond)))}."
      )
    values, mask = jnp.asarray(cond["values"]), cond["mask"]
  else:
    values, mask = jnp.asarray(cond), None
  if values.ndim != 3:
    raise ValueError(
      f"{title} takes values [B, N, D], got shape {list(values.shape)}: numbers"
      " without components need a last axis of 1."
    )
  if mask is None:
    mask = jnp.ones(values.shape[:2], bool)
  elif mask.shape != values.shape[:2]:
    raise ValueError(
      f"{title} takes a mask {list(values.shape[:2])} for values"
      f" {list(values.shape)}, got {list(mask.shape)}."
    )
  mask = jnp.asarray(mask)[..., None] != 0
  return jnp.where(mask, values, 0.0), mask.astype(values.dtype)
