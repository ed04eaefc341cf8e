"""Layers of transformers inside flows.

Layers normalise first (pre-LN). Their residual branches start at a scale of
1/sqrt(2 K) for K layers; outputs start at 0, so a flow starts as the identity.
Layers are scanned. The residual stream, softmax and outputs are at least
float32, whatever the layers compute in.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, at_least_float32

# Keys [K, B, heads, c, N] and values [K, B, heads, N, c] of all layers.
Cache = tuple[Array, Array]


class Layer(nn.Module):
  """Self-attention, then two dense layers, each added to its input.

  Attributes:
    heads: Number of heads of the attention.
    branches: Number of residual branches of the whole network, 2 K.
    causal: Whether a token sees only itself and the tokens before it.
    dtype: Precision of the computation; None follows the data.
    precision: Precision of matrix products.
  """

  heads: int
  branches: int
  causal: bool = False
  dtype: DTypeLike | None = None
  precision: str | None = None

  @nn.compact
  def __call__(
    self,
    hidden: Array,
    cache: Cache | None = None,
    position: Array | None = None,
  ) -> tuple[Array, Cache]:
    """Maps [B, n, d] to [B, n, d]; also returns keys and values of the tokens.

    With a cache, keys [B, heads, c, N] and values [B, heads, N, c], n is 1:
    `hidden` is the token at `position`, and the cache holds those before it.
    """
    width = hidden.shape[-1]
    split = (*hidden.shape[:-1], 3, self.heads, width // self.heads)
    qkv = self._dense(3 * width, "qkv")(self._norm("norm_1")(hidden))
    # [3, B, heads, n, c]
    query, key, value = qkv.reshape(split).transpose(2, 0, 3, 1, 4)
    query = query * query.shape[-1] ** -0.5
    if cache is None:
      mixed = self._attention(query, key, value)
    else:
      mixed = self._attention_to_cache(query, key, value, cache, position)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(hidden.shape)
    hidden = hidden + self._dense(width, "out", is_branch=True)(mixed)
    inner = self._dense(4 * width, "mlp_1")(self._norm("norm_2")(hidden))
    inner = self._dense(width, "mlp_2", is_branch=True)(nn.gelu(inner))
    return hidden + inner, (key.swapaxes(2, 3), value)

  def _attention(self, query, key, value):
    """Returns the values [B, heads, n, c] that queries attend to."""
    logits = self._product("bhqc,bhkc->bhqk", query, key)
    if self.causal:
      mask = jnp.tril(jnp.ones((1, 1, *logits.shape[2:]), bool))
      logits = jnp.where(mask, logits, -jnp.inf)
    weights = nn.softmax(logits).astype(value.dtype)
    return self._product("bhqk,bhkc->bhqc", weights, value).astype(value.dtype)

  def _attention_to_cache(self, query, key, value, cache, position):
    """Returns the values [B, heads, 1, c] that the query attends to."""
    keys, values = cache
    before = self._product("bhqc,bhck->bhqk", query, keys)
    count = before.shape[-1]
    is_seen = (jnp.arange(count) < position).reshape(1, 1, 1, -1)
    before = jnp.where(is_seen, before, -jnp.inf)
    own = self._product("bhqc,bhkc->bhqk", query, key)
    weights = nn.softmax(jnp.concatenate([before, own], -1)).astype(value.dtype)
    mixed = self._product("bhqk,bhkc->bhqc", weights[..., :count], values)
    return (mixed + weights[..., count:] * value).astype(value.dtype)

  def _product(self, sums, a, b):
    return jnp.einsum(
      sums,
      a,
      b,
      precision=self.precision,
      preferred_element_type=at_least_float32(a.dtype),
    )

  def _dense(self, features, name, *, is_branch=False):
    scale = 1 / self.branches if is_branch else 1.0
    return nn.Dense(
      features,
      kernel_init=nn.initializers.variance_scaling(
        scale, "fan_in", "truncated_normal"
      ),
      dtype=self.dtype,
      precision=self.precision,
      name=name,
    )

  def _norm(self, name):
    return nn.LayerNorm(dtype=self.dtype, name=name)


class Layers(nn.Module):
  """A number of `Layer`s, scanned.

  Attributes:
    count: Number of layers.
    heads, causal, dtype, precision: See `Layer`.
    remat: Keeps only the input of each layer for gradients, and computes the
      rest again.
  """

  count: int
  heads: int
  causal: bool = False
  dtype: DTypeLike | None = None
  precision: str | None = None
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    hidden: Array,
    cache: Cache | None = None,
    position: Array | None = None,
  ) -> tuple[Array, Cache | None]:
    """Maps [B, n, d] to [B, n, d]; with a cache, also returns the new entries.

    Those are keys [K, B, heads, c, 1] and values [K, B, heads, 1, c].
    """
    if hidden.shape[-1] % self.heads:
      raise ValueError(
        f"A transformer's width must be a multiple of its {self.heads} heads,"
        f" got {hidden.shape[-1]}."
      )

    def step(layer, hidden, own_cache):
      hidden, entry = layer(hidden, own_cache, position)
      return hidden, None if cache is None else entry

    if self.remat:
      # The loop already keeps the two computations apart.
      step = nn.remat(step, prevent_cse=False)
    scan = nn.scan(
      step,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      length=self.count,
    )
    layer = Layer(
      self.heads,
      2 * self.count,
      self.causal,
      self.dtype,
      self.precision,
      name="layers",
    )
    return scan(layer, hidden.astype(at_least_float32(hidden.dtype)), cache)


def head(hidden: Array, features: int, precision: str | None = None) -> Array:
  """Normalises and maps to `features`, starting at 0; called in a module."""
  hidden = nn.LayerNorm(name="norm")(hidden)
  zeros = nn.initializers.zeros
  layer = nn.Dense(
    features, kernel_init=zeros, precision=precision, name="head"
  )
  return layer(hidden)
