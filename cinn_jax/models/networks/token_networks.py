"""Transformers of tokens: of couplings, and of autoregressive blocks.

As in `subnets`, the condition's part of the first layer is a separate product.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.bijections.conditions import check_condition_channels
from cinn_jax.models.networks.transformer import Cache, Layers, head


class TokenContext(nn.Module):
  """Embeddings of the positions, plus the condition's part of the first layer.

  Attributes:
    width: Width d of a token's embedding.
    dtype: Precision of the computation; None follows the data.
    precision: Precision of matrix products.
  """

  width: int
  dtype: DTypeLike | None = None
  precision: str | None = None

  @nn.compact
  def __call__(self, cond: Condition, tokens: Array) -> Array:
    """Returns [B, N, d] for tokens [B, N, F]; B is 1 without a condition.

    The leaves of `cond` are vectors [B, C], the same for every token, or maps
    [B, ..., C] with a position for each token.
    """
    leaves = jax.tree.leaves(cond)
    check_condition_channels(self, leaves)
    shape = (tokens.shape[1], self.width)
    positions = self.param("positions", nn.initializers.normal(0.02), shape)
    context = positions[None].astype(tokens.dtype)
    for i, leaf in enumerate(leaves):
      layer = nn.Dense(
        self.width,
        use_bias=False,
        dtype=self.dtype,
        precision=self.precision,
        name=f"condition_{i}",
      )
      context = context + layer(leaf.reshape(len(leaf), -1, leaf.shape[-1]))
    return context


class TransformerSubnet(nn.Module):
  """A coupling's network: a transformer in which all tokens see each other.

  (Jet, Kolesnikov et al. 2024.)

  Attributes:
    width: Width d of a token's embedding.
    layers: Number of layers.
    heads: Number of heads; it divides the width.
    dtype: Precision of the computation; None follows the data.
    remat: See `Layers`.
  """

  width: int
  layers: int
  heads: int
  dtype: DTypeLike | None = None
  remat: bool = False

  @nn.compact
  def __call__(self, u: Array, cond: Condition, features: int) -> Array:
    """Maps [B, ..., C] and a condition to [B, ..., features].

    The condition is as in `TokenContext`.
    """
    tokens = u.reshape(len(u), -1, u.shape[-1])
    hidden = nn.Dense(self.width, dtype=self.dtype, name="data")(tokens)
    context = TokenContext(self.width, self.dtype, name="context")
    hidden = hidden + context(cond, tokens)
    hidden, _ = Layers(
      self.layers,
      self.heads,
      dtype=self.dtype,
      remat=self.remat,
      name="trunk",
    )(hidden)
    return head(hidden, features).reshape(*u.shape[:-1], features)


class CausalTransformer(nn.Module):
  """An autoregressive block's network; see `bijections.AutoregressiveBlock`.

  Products of float32 numbers are exact to float32 on every device, since the
  inverse computes them in another order than forward does.

  Attributes: those of `TransformerSubnet`.
  """

  width: int
  layers: int
  heads: int
  dtype: DTypeLike | None = None
  remat: bool = False

  def setup(self) -> None:
    self.given = TokenContext(self.width, self.dtype, self._precision)

  @property
  def _precision(self) -> str | None:
    return "highest" if self.dtype is None else None

  def context(self, cond: Condition, tokens: Array) -> Array:
    """Returns the tokens' context, see `TokenContext`."""
    return self.given(cond, tokens)

  def empty_cache(self, tokens: Array) -> tuple[Cache, ...]:
    """Returns the caches of all layers before the first token."""
    each, count = self.width // self.heads, tokens.shape[1]
    dtype = tokens.dtype if self.dtype is None else self.dtype
    batch = (len(tokens), self.heads)
    keys = jnp.zeros((*batch, each, count), dtype)
    return ((keys, jnp.zeros((*batch, count, each), dtype)),) * self.layers

  def step(
    self,
    previous: Array,
    context: Array,
    features: int,
    cache: tuple[Cache, ...],
    position: Array,
  ) -> tuple[Array, tuple[Cache, ...]]:
    """Returns (s, m) [B, features] of one token, and the next caches."""
    out, cache = self(
      previous[:, None], context[:, None], features, cache, position
    )
    return out[:, 0], cache

  @nn.compact
  def __call__(
    self,
    tokens: Array,
    context: Array,
    features: int,
    cache: tuple[Cache, ...] | None = None,
    position: Array | None = None,
  ) -> Any:
    """Maps tokens [B, N, F] to [B, N, features]; entry i sees those before i.

    With caches, `tokens` [B, 1, F] is the token before `position`, and the
    result is (entry [B, 1, features], the next caches).
    """
    if cache is None:
      start = jnp.zeros_like(tokens[:, :1])
      tokens = jnp.concatenate([start, tokens[:, :-1]], 1)
    hidden = nn.Dense(
      self.width, dtype=self.dtype, precision=self._precision, name="data"
    )(tokens)
    hidden, new = Layers(
      self.layers,
      self.heads,
      causal=True,
      dtype=self.dtype,
      precision=self._precision,
      remat=self.remat,
      name="trunk",
    )(hidden + context, cache, position)
    out = head(hidden, features, self._precision)
    return out if cache is None else (out, new)
