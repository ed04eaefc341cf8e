"""Two multi-scale flows, and the law of one's latents given the other's.

A condition image Y and a target W are encoded, each by its own unconditional
flow, into latents per scale: Y to D_k, W to L_k, k = 0 the finest. A third
bijection takes the L to standard normal z, given the D:

  ln p(W | Y) = ln N(z; 0, I) + ln|dz/dL| + ln|dL/dW|

CAFLOW, Dual-Glow+ and Dual-Glow differ in that third part alone.
"""

import math

import jax.numpy as jnp

from cinn_jax import bijections as bj
from cinn_jax import likelihood
from cinn_jax.bijections import Bijection, Squeeze
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_picture, check_size


class PairedFlow(Bijection):
  """x [B, H, W, C] to a tuple of latents, given an image of the same size.

  The condition is encoded once per call, and once per image when latents alone
  are mapped over. `forward` sows the condition's own likelihood under
  "auxiliary_losses": -ln p(Y) in nats per number of Y, times
  `condition_weight`, as [B]. It is no part of ln p(W | Y).

  Attributes:
    target_flow: W to the tuple of L_k, finest first.
    condition_flow: Y to the tuple of D_k.
    latent_flows: the L to z; its condition is a tuple per scale of (D_k,), or
      (D_k, side_k) where there is side information.
    condition_weight: lambda; 0 trains the condition's flow by the target alone.
    condition_channels: how many of the condition's channels, first ones first,
      `condition_flow` models. The others, such as a mask, are side
      information: averaged over 2^k x 2^k pixels and squeezed to the size of
      D_k, so that the finest scale has them exactly.
    multiple: what heights and widths are multiples of.
    title: who refuses other sizes.
  """

  target_flow: Bijection
  condition_flow: Bijection
  latent_flows: Bijection
  condition_weight: float
  condition_channels: int
  multiple: int
  title: str

  def setup(self):
    self.squeeze = Squeeze(order="channel")

  def forward(self, x, cond=None):
    check_size(x.shape, self.multiple, self.title)
    given, log_prob = self._encode(cond, x.shape)
    self._sow_condition(log_prob, self.condition_weight)
    latents, log_det = self.target_flow.forward(x)
    z, latent_log_det = self.latent_flows.forward(latents, given)
    return z, log_det + latent_log_det

  def inverse(self, z, cond=None):
    given, _ = self._encode(cond)
    latents, latent_log_det = self.latent_flows.inverse(z, given)
    x, log_det = self.target_flow.inverse(latents)
    return x, log_det + latent_log_det

  def unconditional(self, x, cond):
    """Both flows by themselves, for pretraining: the L with their log_det.

    Scored by N(0, I) that is ln p(W). The condition's ln p(Y) is sown as by
    `forward`, with a weight of 1.
    """
    self._sow_condition(self._encode(cond, x.shape)[1], 1.0)
    return self.target_flow.forward(x)

  def reconstruction_errors(self, x, cond):
    """Largest |x - inverse(forward(x))| per part and example: a dict of [B].

    In the images' units; "round_trip" is of the whole. That of the latent flows
    is what their error makes of x: the difference between what the target's
    flow decodes from L and from L as they give it back. It grows long before a
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
    check_picture(cond, self.title)
    if cond.shape[-1] < self.condition_channels:
      raise ValueError(
        f"{self.title} models {self.condition_channels} channels of"
        f" the condition, got shape {cond.shape}: set condition_channels to"
        " how many of them are an image."
      )
    check_size(cond.shape, self.multiple, self.title)
    return jnp.split(cond, [self.condition_channels], axis=-1)

  def _encode(self, cond, target_shape=None):
    """What conditions each scale, and ln p(Y) / dim Y as [B]."""
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
    """(D_k,) per scale, or (D_k, side_k)."""
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


def flow_pair(
  latent_flows: bj.Bijection,
  *,
  name: str,
  levels: int,
  halvings: int,
  channels: int = 3,
  condition_channels: int = 3,
  depth: int = 16,
  condition_depth: int | None = None,
  hidden: int = 64,
  transitions: int = 2,
  alpha: float = 2.0,
  clamp: str = "freia_2021",
  coupling: str = "affine",
  mixing: str = "full",
  logit_alpha: float = 1e-5,
  condition_weight: float = 1e-3,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PairedFlow:
  """Two unconditional flows, and `latent_flows` between their latents.

  Args:
    name: of the model, in refusals.
    levels: scales of the two flows.
    halvings: how often the model halves an image in all.
    channels: of the target.
    condition_channels: of the condition, as far as its flow models them; what
      comes after them is side information, see `PairedFlow`.
    depth: couplings per scale of the target's flow.
    condition_depth: of the condition's flow; None for the same.
    hidden: width of the networks in both.
    transitions: steps without coupling after each of their squeezes.
    alpha: bound of their log-scales.
    clamp, coupling, mixing, memory, compute_dtype: see `caflow`.
    logit_alpha: both images are taken to logit(a / 2 + (1 - a) x).
    condition_weight: lambda, of the condition's bits/dim in the loss.
  """

  def flow(channels, depth):
    stages = [
      bj.Chain(
        (
          bj.Squeeze(order="channel"),
          steps(
            depth,
            hidden=hidden,
            transitions=transitions,
            alpha=alpha,
            clamp=clamp,
            coupling=coupling,
            mixing=mixing,
            memory=memory,
            compute_dtype=compute_dtype,
          ),
        )
      )
      for _ in range(levels)
    ]
    splits = [
      bj.Split(2 * channels * 2**k, side="first") for k in range(levels - 1)
    ]
    margin = logit_alpha / (2 * (1 - logit_alpha))
    logit = bj.Bounded(-margin, 1 + margin)
    return bj.Chain((logit, bj.MultiScale(stages, splits)))

  return PairedFlow(
    target_flow=flow(channels, depth),
    condition_flow=flow(
      condition_channels, depth if condition_depth is None else condition_depth
    ),
    latent_flows=latent_flows,
    condition_weight=condition_weight,
    condition_channels=condition_channels,
    multiple=2**halvings,
    title=f"{name} with {levels} levels",
  )


def steps(
  depth,
  *,
  hidden,
  transitions,
  alpha,
  clamp,
  coupling,
  mixing,
  memory="store",
  compute_dtype="float32",
  conditional=False,
):
  """`transitions` of [ActNorm, mixing], then `depth` of these and a coupling.

  Where `conditional`, an injector stands before each coupling, whose networks
  then see the condition too. The networks are convolutions of 3x3, 1x1 and
  3x3, and start at 0.
  """
  if coupling not in ("affine", "additive"):
    raise ValueError(f"coupling is 'affine' or 'additive', got {coupling!r}.")
  mix = bj.mixing_named(mixing)

  def net():
    return Subnet(
      widths=(hidden, hidden),
      kernels=(3, 1, 3),
      dtype=compute_dtype_named(compute_dtype),
    )

  if coupling == "affine":
    clamped = {"alpha": alpha, "clamp": clamp}
    steered = [
      bj.AffineInjector(net, **clamped),
      bj.AffineCoupling(net, sides=1, **clamped),
    ]
  else:
    steered = [bj.AdditiveInjector(net), bj.AdditiveCoupling(net, sides=1)]

  def normalized():
    return [bj.ActNorm(), mix()]

  def stack(parts, depth):
    return bj.Stack(bj.Chain(parts), depth, memory)

  parts = [stack(normalized(), transitions)] if transitions else []
  step = [*normalized(), *steered[0 if conditional else 1 :]]
  return bj.Chain([*parts, stack(step, depth)])
