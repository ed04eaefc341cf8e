"""Layers of transformers inside flows.

Layers normalise first (pre-LN). Their residual branches start at a scale of
1/sqrt(2 K) for K layers; outputs start at 0, so a flow starts as the identity.
The residual stream, softmax and outputs are at least float32, whatever the
layers compute in.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, at_least_float32

# Keys [B, heads, c, N] and values [B, heads, N, c] of a layer.
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
  ) -> tuple[Array, Cache | None]:
    """Maps [B, n, d] to [B, n, d]; also returns the next cache.

    With a cache, n is 1: `hidden` is the token at `position`, and the cache
    holds those before it.
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
      cache = _with_entry(cache, (key.swapaxes(2, 3), value), position)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(hidden.shape)
    hidden = hidden + self._dense(width, "out", is_branch=True)(mixed)
    inner = self._dense(4 * width, "mlp_1")(self._norm("norm_2")(hidden))
    inner = self._dense(width, "mlp_2", is_branch=True)(nn.gelu(inner))
    return hidden + inner, cache

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


def _with_entry(cache, entry, position):
  """Returns keys and values with those of one more token."""
  keys, values = (
    jax.lax.dynamic_update_slice_in_dim(old, new, position, axis)
    for old, new, axis in zip(cache, entry, (3, 2), strict=True)
  )
  return keys, values


class Layers(nn.Module):
  """A number of `Layer`s: scanned, unless there are caches.

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
    caches: Sequence[Cache] | None = None,
    position: Array | None = None,
  ) -> tuple[Array, Sequence[Cache] | None]:
    """Maps [B, n, d] to [B, n, d]; also returns the caches, see `Layer`."""
    if hidden.shape[-1] % self.heads:
      raise ValueError(
        f"A transformer's width must be a multiple of its {self.heads} heads,"
        f" got {hidden.shape[-1]}."
      )

    layer = Layer(
      self.heads,
      2 * self.count,
      self.causal,
      self.dtype,
      self.precision,
      name="layers",
    )
    hidden = hidden.astype(at_least_float32(hidden.dtype))
    if caches is not None:
      return self._with_caches(layer, hidden, caches, position)

    def step(layer, hidden, _):
      return layer(hidden)[0], None

    if self.remat:
      # The loop already keeps the two computations apart.
      step = nn.remat(step, prevent_cse=False)
    scan = nn.scan(
      step,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      length=self.count,
    )
    return scan(layer, hidden, None)[0], None

  def _with_caches(self, layer, hidden, caches, position):
    """Runs the layers one by one.

    In a loop, `vmap` over samples would transpose all caches for each token.
    """
    params = self.variables["params"]["layers"]
    layer = layer.clone(parent=None)
    new = []
    for k, cache in enumerate(caches):
      own = {"params": jax.tree.map(lambda leaf, k=k: leaf[k], params)}
      hidden, cache = layer.apply(own, hidden, cache, position)
      new.append(cache)
    return hidden, tuple(new)


def head(hidden: Array, features: int, precision: str | None = None) -> Array:
  """Normalises and maps to `features`, starting at 0; called in a module."""
  hidden = nn.LayerNorm(name="norm")(hidden)
  zeros = nn.initializers.zeros
  layer = nn.Dense(
    features, kernel_init=zeros, precision=precision, name="head"
  )
  return layer(hidden)
