"""Two multi-scale flows, and a flow between their latents.

A condition image Y and a target W are encoded, each by its own unconditional
flow, into latents per scale: Y to D_k, W to L_k, k = 0 the finest. A third
bijection takes the L to standard normal z, given the D:

  ln p(W | Y) = ln N(z; 0, I) + ln|dz/dL| + ln|dL/dW|

CAFLOW, Dual-Glow+ and Dual-Glow differ in that third part alone.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp

from cinn_jax import bijections as bj
from cinn_jax import likelihood
from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.models.pairs.steps import StepOptions, steps
from cinn_jax.models.sizes import check_levels, check_picture, check_size

Builder = TypeVar("Builder", bound=Callable[..., Any])


class PairedFlow(bj.Bijection):
  """Maps x [B, H, W, C] to a tuple of latents, given an image of the same size.

  The condition is encoded once per call, and once per image if the call is
  mapped over latents alone. `forward` sows the condition's own likelihood under
  "auxiliary_losses": -ln p(Y) in nats per number of Y, times
  `condition_weight`, as [B]. It is not part of ln p(W | Y).

  Attributes:
    target_flow: Takes W to the tuple of L_k, finest first.
    condition_flow: Takes Y to the tuple of D_k.
    latent_flows: Takes the L to z. Its condition has one tuple per scale:
      (D_k,), or (D_k, side_k) if there is side information.
    condition_weight: Weight lambda of the condition's likelihood in the loss.
      With 0, only the target trains the condition's flow.
    condition_channels: Number of leading channels of the condition that
      `condition_flow` models. The others, such as a mask, are side
      information: averaged over 2^k x 2^k pixels and squeezed to the size of
      D_k, so that the finest scale has them exactly.
    multiple: Heights and widths must be multiples of this number.
    title: Model name used in error messages.
  """

  target_flow: bj.Bijection
  condition_flow: bj.Bijection
  latent_flows: bj.Bijection
  condition_weight: float
  condition_channels: int
  multiple: int
  title: str

  def setup(self) -> None:
    self.squeeze = bj.Squeeze(order="channel")

  def forward(self, x: Array, cond: Condition = None) -> tuple[PyTree, Array]:
    check_size(x.shape, self.multiple, self.title)
    given, log_prob = self._encode(cond, x.shape)
    self._sow_condition(log_prob, self.condition_weight)
    latents, log_det = self.target_flow.forward(x)
    z, latent_log_det = self.latent_flows.forward(latents, given)
    return z, log_det + latent_log_det

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[Array, Array]:
    given, _ = self._encode(cond)
    latents, latent_log_det = self.latent_flows.inverse(z, given)
    x, log_det = self.target_flow.inverse(latents)
    return x, log_det + latent_log_det

  def unconditional(self, x: Array, cond: Condition) -> tuple[PyTree, Array]:
    """Runs both flows by themselves, for pretraining.

    Returns the tuple of L_k and its log_det [B]; scored by N(0, I), they give
    ln p(W). Sows the condition's ln p(Y) as `forward` does, with a weight of 1.
    """
    self._sow_condition(self._encode(cond, x.shape)[1], 1.0)
    return self.target_flow.forward(x)

  def reconstruction_errors(
    self, x: Array, cond: Condition
  ) -> dict[str, Array]:
    """Returns the largest |x - inverse(forward(x))| [B] of each part.

    Errors are in the images' units; "round_trip" is that of the whole. The one
    of the latent flows is the effect of their error on x: the difference
    between decoding L and decoding L after a round trip. It grows long before a
    sample shows that an inverse explodes.
    """
    colours, side = self._split(cond)
    encoded, _ = self.condition_flow.forward(colours)
    given = self._given(encoded, side)
    latents, _ = self.target_flow.forward(x)
    z, _ = self.latent_flows.forward(latents, given)
    again, _ = self.latent_flows.inverse(z, given)
    decoded, redecoded = (
      self.target_flow.inverse(each)[0] for each in (latents, again)
    )
    recoded, _ = self.condition_flow.inverse(encoded)
    return {
      "round_trip": _distance(redecoded, x),
      "target_flow": _distance(decoded, x),
      "condition_flow": _distance(recoded, colours),
      "latent_flows": _distance(redecoded, decoded),
    }

  def _split(self, cond):
    """Returns the channels that the condition's flow models, and the others."""
    check_picture(cond, self.title)
    if cond.shape[-1] < self.condition_channels:
      raise ValueError(
        f"{self.title} models {self.condition_channels} channels of the"
        f" condition, got shape {cond.shape}: set condition_channels to the"
        " number of its image channels."
      )
    check_size(cond.shape, self.multiple, self.title)
    return jnp.split(cond, [self.condition_channels], axis=-1)

  def _encode(self, cond, target_shape=None):
    """Returns the condition of each scale, and ln p(Y) / dim Y as [B]."""
    colours, side = self._split(cond)
    if target_shape and cond.shape[1:3] != target_shape[1:3]:
      raise ValueError(
        f"{self.title} takes a condition of the target's size"
        f" {list(target_shape[1:3])}, got {list(cond.shape[1:3])}: enlarge it."
      )
    latents, log_det = self.condition_flow.forward(colours)
    nats = likelihood.log_prob(latents, log_det).total
    return self._given(latents, side), nats / math.prod(colours.shape[1:])

  def _given(self, latents, side):
    """Returns (D_k,) per scale, or (D_k, side_k)."""
    if not side.shape[-1]:
      return tuple((latent,) for latent in latents)
    return tuple(
      (latent, self._side(side, 2**k)) for k, latent in enumerate(latents)
    )

  def _side(self, side, width):
    b, h, w, c = side.shape
    cells = side.reshape(b, h // width, width, w // width, width, c)
    return self.squeeze.forward(jnp.mean(cells, axis=(2, 4)))[0]

  def _sow_condition(self, log_prob, weight):
    if weight:
      self.sow("auxiliary_losses", "condition", -weight * log_prob)


def _distance(a, b):
  return jnp.max(jnp.abs(a - b), axis=tuple(range(1, a.ndim)))


def takes_pair_settings(builder: Builder) -> Builder:
  """Gives a builder with `**pair` a signature that names what these may be.

  They are the arguments of `flow_pair` that the builder does not set itself.
  """
  own = inspect.signature(builder)
  names = {"name", "halvings", *own.parameters}
  settings = [
    parameter
    for parameter in inspect.signature(flow_pair).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in names
  ]
  kept = [
    parameter
    for parameter in own.parameters.values()
    if parameter.kind is not parameter.VAR_KEYWORD
  ]
  builder.__signature__ = own.replace(  # type: ignore[attr-defined]
    parameters=[*kept, *settings]
  )
  return builder


def flow_pair(
  latent_flows: bj.Bijection,
  options: StepOptions,
  *,
  name: str,
  levels: int,
  halvings: int,
  channels: int = 3,
  condition_channels: int = 3,
  depth: int = 16,
  condition_depth: int | None = None,
  logit_alpha: float = 1e-5,
  condition_logit_alpha: float | None = None,
  condition_weight: float = 1e-3,
) -> PairedFlow:
  """Builds two unconditional flows, with `latent_flows` between their latents.

  Args:
    latent_flows: See `PairedFlow`.
    options: Settings of the steps of both flows.
    name: Model name used in error messages.
    levels: Number of scales of the two flows.
    halvings: How often the whole model halves an image.
    channels: Number of the target's channels.
    condition_channels: Number of the condition's channels that its flow models.
      Further channels are side information, see `PairedFlow`.
    depth: Number of couplings per scale of the target's flow.
    condition_depth: The same for the condition's flow; None stands for `depth`.
    logit_alpha: The target is mapped to logit(a / 2 + (1 - a) x).
    condition_logit_alpha: The same for the condition; None stands for
      `logit_alpha`, as published.
    condition_weight: Weight lambda of the condition's bits/dim in the loss.
  """

  check_levels(levels)

  def flow(channels: int, depth: int, logit_alpha: float) -> bj.Chain:
    stages = [
      bj.Chain((bj.Squeeze(order="channel"), steps(depth, options)))
      for _ in range(levels)
    ]
    splits = [
      bj.Split(2 * channels * 2**k, side="first") for k in range(levels - 1)
    ]
    margin = logit_alpha / (2 * (1 - logit_alpha))
    logit = bj.Bounded(-margin, 1 + margin)
    return bj.Chain((logit, bj.MultiScale(stages, splits)))

  return PairedFlow(
    target_flow=flow(channels, depth, logit_alpha),
    condition_flow=flow(
      condition_channels,
      depth if condition_depth is None else condition_depth,
      logit_alpha if condition_logit_alpha is None else condition_logit_alpha,
    ),
    latent_flows=latent_flows,
    condition_weight=condition_weight,
    condition_channels=condition_channels,
    multiple=2**halvings,
    title=f"{name} with {levels} levels",
  )
