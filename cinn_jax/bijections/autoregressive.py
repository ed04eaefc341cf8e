"""Autoregressive flows of tokens: each is scaled by the ones before it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  sum_per_example,
)
from cinn_jax.bijections.conditions import check_condition, check_head
from cinn_jax.bijections.log_scales import affine, report_log_scale, soft_clamp

# Ways to go back from latents to data.
SAMPLERS = ("scan", "jacobi", "gauss_seidel")


class AutoregressiveBlock(Bijection):
  """An affine map of each token, by a network that sees the tokens before it.

  With tokens y_1 ... y_N in raster order, or in reverse, and condition c:

    forward   z_i = (y_i - m_i) exp(-s_i)   (s_i, m_i) = net(y_1 ... y_(i-1); c)
    inverse   y_i = z_i exp(s_i) + m_i      token by token

  with a soft clamp on s; forward's log_det is -sum(s). Forward is one parallel
  pass, the inverse N steps of one token each, for which the network keeps a
  cache. The condition may reach every token. (TARFlow, Zhai et al. 2025. There
  the first token of a block does not change. Here it does: the network sees
  zeros before it.)

  The numbers of a token do not see each other within a block: mix them between
  blocks, and alternate the order.

  A network has these methods, with tokens [B, N, F]; see
  `cinn_jax.models.networks.token_networks.CausalTransformer`:

    context(cond, tokens)  Returns all that does not depend on the tokens'
                           values, [B or 1, N, d].
    net(tokens, context, features)  Returns [B, N, features]; entry i depends on
                           tokens before i only.
    empty_cache(tokens)    Returns the cache before the first token.
    step(previous, context, features, cache, position)  Returns the entry
                           [B, features] at a position, given the token [B, F]
                           before it and the context there, and the next cache.

  Attributes:
    network: Makes such a network. Called once.
    alpha: Bound of the log-scale.
    clamp: A name in `CLAMPS`.
    reverse: Whether the order is reversed.
    sampler: "scan" goes back token by token. "jacobi" starts from the latents
      and applies the formula to all tokens at once, again and again, until no
      token changes by more than `tolerance` times the largest one. After N
      sweeps the result is exact; often far fewer are enough. It has no
      reverse-mode gradient. "gauss_seidel" does so for one segment of tokens
      after the other, given the finished ones before it. Each segment is
      compiled.
    tolerance: See "jacobi".
    segment: Number of tokens of a segment, see "gauss_seidel".
  """

  network: Callable[[], nn.Module]
  alpha: float = 2.0
  clamp: str = "tanh"
  reverse: bool = False
  sampler: str = "scan"
  tolerance: float = 1e-5
  segment: int = 32

  @property
  def cheap_inverse(self) -> bool:
    return False

  def setup(self) -> None:
    if self.sampler not in SAMPLERS:
      raise ValueError(
        f"Unknown sampler {self.sampler!r}; there are {', '.join(SAMPLERS)}."
      )
    if self.segment < 1:
      raise ValueError(f"segment must be 1 or more, got {self.segment}.")
    self.net: Any = self.network()

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    tokens, context = self._tokens(x, cond)
    head = self.net(tokens, context, 2 * x.shape[-1])
    log_scale, shift = self._scale_and_shift(head, tokens)
    z = affine(tokens, log_scale, shift, inverse=True)
    report_log_scale(self, log_scale)
    return self._in_raster_order(z).reshape(x.shape), -sum_per_example(
      log_scale
    )

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    latents, context = self._tokens(z, cond)
    if self.is_initializing():
      # One pass makes all parameters.
      head = self.net(latents, context, 2 * z.shape[-1])
      log_scale, shift = self._scale_and_shift(head, latents)
      tokens = affine(latents, log_scale, shift, inverse=False)
    elif self.sampler == "scan":
      tokens, log_scale = self._by_scan(latents, context)
    else:
      all_at_once = self.sampler == "jacobi"
      segment = latents.shape[1] if all_at_once else self.segment
      tokens, log_scale = self._by_sweeps(latents, context, segment)
    report_log_scale(self, log_scale)
    x = self._in_raster_order(tokens).reshape(z.shape)
    return x, sum_per_example(log_scale)

  def _tokens(self, x: Array, cond: Condition) -> tuple[Array, Array]:
    """Returns tokens [B, N, F] and their context in this block's order."""
    if x.ndim < 3:
      raise ValueError(
        "An autoregressive block takes tokens [B, H, W, F] or [B, N, F], got"
        f" shape {x.shape}."
      )
    check_condition(x, cond)
    tokens = x.reshape(x.shape[0], -1, x.shape[-1])
    tokens = tokens.astype(at_least_float32(x.dtype))
    context = self.net.context(cond, tokens)
    return self._in_raster_order(tokens), self._in_raster_order(context)

  def _in_raster_order(self, tokens: Array) -> Array:
    """Undoes this block's order; it is its own inverse."""
    return tokens[:, ::-1] if self.reverse else tokens

  def _scale_and_shift(self, head: Array, like: Array) -> tuple[Array, Array]:
    check_head(head, like, 2 * like.shape[-1])
    raw, shift = jnp.split(head.astype(like.dtype), 2, axis=-1)
    return soft_clamp(self.clamp, raw, self.alpha), shift

  def _by_scan(self, latents: Array, context: Array) -> tuple[Array, Array]:
    """Returns tokens and log-scales, one token after the other."""
    features = 2 * latents.shape[-1]

    def step(net, carry, inputs):
      previous, cache = carry
      latent, own_context, position = inputs
      head, cache = net.step(previous, own_context, features, cache, position)
      log_scale, shift = self._scale_and_shift(head, latent)
      token = affine(latent, log_scale, shift, inverse=False)
      return (token, cache), (token, log_scale)

    scan = nn.scan(
      step, variable_broadcast="params", split_rngs={"params": False}
    )
    start = (jnp.zeros_like(latents[:, 0]), self.net.empty_cache(latents))
    inputs = (
      latents.swapaxes(0, 1),
      context.swapaxes(0, 1),
      jnp.arange(latents.shape[1]),
    )
    _, (tokens, log_scale) = scan(self.net, start, inputs)
    return tokens.swapaxes(0, 1), log_scale.swapaxes(0, 1)

  def _by_sweeps(
    self, latents: Array, context: Array, segment: int
  ) -> tuple[Array, Array]:
    """Returns tokens and log-scales by sweeps over one segment at a time."""
    # A loop of JAX cannot run a module that is bound to variables.
    net, variables = self.net.unbind()
    features = 2 * latents.shape[-1]
    done, scales = latents[:, :0], []
    for first in range(0, latents.shape[1], segment):
      own = latents[:, first : first + segment]
      # A causal network needs no token after the segment.
      end = first + own.shape[1]
      before, given = done, context[:, :end]

      def sweep(state, own=own, before=before, given=given):
        tokens, _, k, _ = state
        known = jnp.concatenate([before, tokens], 1)
        head = net.apply(variables, known, given, features)
        head = head[:, before.shape[1] :]
        log_scale, shift = self._scale_and_shift(head, own)
        new = affine(own, log_scale, shift, inverse=False)
        change = jnp.max(jnp.abs(new - tokens))
        # Not "above", so that it goes on while tokens are not finite.
        is_done = change <= self.tolerance * jnp.max(jnp.abs(new))
        return new, log_scale, k + 1, is_done

      def goes_on(state, count=own.shape[1]):
        _, _, k, is_done = state
        return (k < count) & ~is_done

      start = (own, jnp.zeros_like(own), 0, jnp.asarray(False))
      tokens, log_scale, _, _ = jax.lax.while_loop(goes_on, sweep, start)
      done = jnp.concatenate([done, tokens], 1)
      scales.append(log_scale)
    return done, jnp.concatenate(scales, 1)
