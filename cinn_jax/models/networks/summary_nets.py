"""Condition networks for vectors, sets and short time series.

Each turns what was measured into one vector [B, features], which a flow for
vectors takes as its condition. A set or series comes as an array [B, N, D], or
with padding as {"values": [B, N, D], "mask": [B, N]}; the mask is true where a
value counts, and what stands elsewhere has no influence.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp


class VectorNet(nn.Module):
  """Dense layers with ReLU between them: [B, D] to [B, features].

  The defaults are the widths of the fully connected embedding that the toolbox
  sbi (Tejero-Cantero et al. 2020) ships: 50 and 20. Departure: no ReLU after
  the last layer.
  """

  hidden: Sequence[int] = (50,)
  features: int = 20

  @nn.compact
  def __call__(self, cond):
    for width in self.hidden:
      cond = nn.relu(nn.Dense(width)(cond))
    return nn.Dense(self.features)(cond)


class SetNet(nn.Module):
  """A function of a set: [B, N, D] in any order to [B, features].

  rho(mean over the elements of phi(element)), the form that Zaheer et al. 2017
  ("Deep Sets", theorem 2) show to be general, with a mean for the sum so that
  sets of all sizes look alike. phi and rho have the widths of the invariant
  network in the software BayesFlow (Radev et al. 2020): two layers of 64 each,
  then 10 features. Departures: no equivariant layers before phi; the logarithm
  of the set's size beside the mean, as how much a posterior narrows depends on
  it.

  Attributes:
    inner, outer: widths of the layers of phi and rho, with ReLU after each.
    features: numbers out.
    size_feature: whether rho sees the size of the set.
  """

  inner: Sequence[int] = (64, 64)
  outer: Sequence[int] = (64, 64)
  features: int = 10
  size_feature: bool = True

  @nn.compact
  def __call__(self, cond):
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

  The time-series network of the software BayesFlow, after Radev et al. 2021
  ("OutbreakFlow"), in its sizes: two layers of parallel causal convolutions of
  kernels 1 and 2 with 32 filters, each layer brought back to 32 by a kernel of
  1; an LSTM of 64; 10 features from its last state. Padding stands at the end.

  Attributes:
    filters: of each convolution.
    kernels: sizes of the parallel convolutions.
    layers: of convolutions.
    state: of the LSTM.
    features: numbers out.
  """

  filters: int = 32
  kernels: Sequence[int] = (1, 2)
  layers: int = 2
  state: int = 64
  features: int = 10

  @nn.compact
  def __call__(self, cond):
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
    # An empty series has no last state: whatever padding it has must not count.
    last = jnp.where(length[:, None] > 0, last, 0)
    return nn.Dense(self.features)(last)


def values_and_mask(cond, owner):
  """(values [B, N, D] with zeros as padding, mask [B, N, 1] of the same type).

  Raises:
    ValueError: for another condition than the head of this file describes.
  """
  if isinstance(cond, dict):
    if set(cond) != {"values", "mask"}:
      raise ValueError(
        f"{owner} takes an array or a dict of values and mask, got a dict of"
        f" {', '.join(map(repr, sorted(cond)))}."
      )
    values, mask = jnp.asarray(cond["values"]), cond["mask"]
  else:
    values, mask = jnp.asarray(cond), None
  if values.ndim != 3:
    raise ValueError(
      f"{owner} takes values [B, N, D], got shape {list(values.shape)}: numbers"
      " without components need a last axis of 1."
    )
  if mask is None:
    mask = jnp.ones(values.shape[:2], bool)
  elif mask.shape != values.shape[:2]:
    raise ValueError(
      f"{owner} takes a mask {list(values.shape[:2])} for values"
      f" {list(values.shape)}, got {list(mask.shape)}."
    )
  mask = jnp.asarray(mask)[..., None] != 0
  return jnp.where(mask, values, 0.0), mask.astype(values.dtype)
