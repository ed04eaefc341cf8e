"""HCFlow, super-resolution by a hierarchical flow (Liang et al. 2021)."""

import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  PyTree,
  zero_log_det,
)
from cinn_jax.models.conditional_flow import widen
from cinn_jax.models.networks.rrdb import RRDBFeatures, enlarge
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import (
  check_levels,
  check_picture,
  check_size,
  size_text,
)


class HierarchicalFlow(Bijection):
  """Halves a picture again and again, down to the small one that is given.

  Stage k takes the picture y_k to half its size. Some of the channels stay and
  are y_{k+1}; the others, a_k, are its details. At last y_n is compared with
  the small picture: (y_n - cond) / std is the coarsest latent. Then, from the
  coarsest to the finest, a flow of each level's details is conditioned on
  features of what stayed and of all coarser levels. The latents are those of
  the details, the finest first, and that of the small picture. (Liang et al.
  2021; published code, in which a narrow Gaussian stands for a delta.)

  Attributes:
    stages: n bijections from y_k to the channels of both parts.
    splits: n splits, of which the details leave.
    details: n bijections of the details.
    feature_nets: n - 1 networks from y_{k+1} and features of coarser levels.
    condition_net: The same for the coarsest level, of the given picture.
    std: Standard deviation of y_n around the given picture.
  """

  stages: Sequence[Bijection]
  splits: Sequence[bj.Split]
  details: Sequence[Bijection]
  feature_nets: Sequence[nn.Module]
  condition_net: nn.Module
  std: float

  def forward(
    self, x: Array, cond: Condition = None
  ) -> tuple[tuple[Array, ...], Array]:
    check_picture(cond, "HCFlow")
    factor = 2 ** len(self.stages)
    check_size(x.shape, factor, f"HCFlow with {len(self.stages)} levels")
    # Other numbers of channels would be broadcast.
    small = (*(side // factor for side in x.shape[1:3]), x.shape[-1])
    if cond.shape[1:] != small:
      raise ValueError(
        f"This HCFlow enlarges {factor} times, so for {size_text(x.shape[1:])}"
        f" it takes a small picture of {size_text(small)}, got"
        f" {size_text(cond.shape[1:])}."
      )
    kept, emitted = [], []
    total = zero_log_det(x)
    for stage, split in zip(self.stages, self.splits, strict=True):
      x, log_det = stage.forward(x)
      (detail, x), _ = split.forward(x)
      kept.append(x)
      emitted.append(detail)
      total += log_det
    latents = [(x - cond) / self.std]
    total -= math.log(self.std) * math.prod(x.shape[1:])
    features: list[PyTree] = []
    for k in reversed(range(len(self.stages))):
      features.append(self._features(kept[k], cond, features))
      z, log_det = self.details[k].forward(emitted[k], features[-1])
      latents.append(z)
      total += log_det
    return tuple(reversed(latents)), total

  def inverse(
    self, z: Sequence[Array], cond: Condition = None
  ) -> tuple[Array, Array]:
    check_picture(cond, "HCFlow")
    *latents, residual = z
    if len(latents) != len(self.stages):
      raise ValueError(
        f"This flow has {len(self.stages) + 1} levels of latents, got {len(z)}."
      )
    if cond.shape != residual.shape:
      raise ValueError(
        f"The small picture's latent has shape {list(residual.shape)}, but the"
        f" picture has {list(cond.shape)}: pass latents of that picture."
      )
    x = cond + self.std * residual
    total = zero_log_det(x) + math.log(self.std) * math.prod(x.shape[1:])
    features: list[PyTree] = []
    for k in reversed(range(len(self.stages))):
      features.append(self._features(x, cond, features))
      detail, log_det = self.details[k].inverse(latents[k], features[-1])
      total += log_det
      x, _ = self.splits[k].inverse((detail, x))
      x, log_det = self.stages[k].inverse(x)
      total += log_det
    return x, total

  def _features(self, kept, cond, coarser):
    """Returns the features of the next finer level, given the coarser ones."""
    if not coarser:
      return widen(self.condition_net(cond))
    enlarged = [
      enlarge(maps, kept.shape[1] // maps.shape[1]) for maps in coarser
    ]
    net = self.feature_nets[len(self.stages) - len(coarser) - 1]
    return widen(net(jnp.concatenate([kept, *reversed(enlarged)], -1)))


def hcflow(
  *,
  levels: int = 2,
  depth: int = 13,
  detail_depth: int = 13,
  hidden: int = 64,
  blocks: int = 7,
  encoder_width: int = 64,
  encoder_growth: int = 32,
  mixing: str = "full",
  alpha: float = 0.5,
  log_std: float = -6.0,
  channels: int = 3,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> HierarchicalFlow:
  """Builds HCFlow: [B, H, W, channels] given [B, h, w, channels].

  H / h = W / w = 2^levels. The defaults are the published network for a scale
  of 4. For a scale of 8, and faces, it has 3 levels and 5 blocks.

  Each level squeezes and takes `depth` steps without a condition. Half of the
  channels are details, and at the coarsest level all but the small picture's.
  Their flow has `detail_depth` steps and a Gaussian, given features by RRDB
  networks. A step is an ActNorm, 1x1 mixing and a one-sided affine coupling.

  Departures: those from Glow's networks in `models.glow`; the coarsest features
  are those of the given picture in training too, as in the published sampling,
  while the published training takes them of y_n; y_n is compared as it is,
  while the published code first rounds it to 8 bits, so that its likelihood is
  not that of the pictures; the Gaussians have a bound; dense blocks start as
  ESRGAN's. Samples have the noise of `std` in the small picture, 0.6 of 255
  levels, unless the temperature of the coarsest latent is 0, as published.

  Args:
    levels: Number of halvings.
    depth, detail_depth: See above; the published code counts their sum, 26.
    hidden: Width of the couplings' networks (3x3, 1x1, 3x3).
    blocks: Number of RRDB blocks in each half of a level's network.
    encoder_width, encoder_growth: See `rrdb.RRDBFeatures`.
    mixing: A name in `bijections.MIXINGS`, published as "full".
    alpha: Bound of the couplings' log-scales.
    log_std: ln of the standard deviation of y_n around the given picture.
    channels: Number of channels of a picture.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the networks, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: For less than 1 level or an unknown name. The model raises it
      for sizes that do not fit.
  """
  check_levels(levels)
  dtype = compute_dtype_named(compute_dtype)
  conv = functools.partial(
    Subnet, widths=(hidden,) * 2, kernels=(3, 1, 3), dtype=dtype
  )
  prior = functools.partial(Subnet, widths=(), kernels=(3,))
  mixing_layer = bj.mixing_named(mixing)

  def steps(count: int) -> bj.Stack:
    step = (
      bj.ActNorm(),
      mixing_layer(),
      bj.AffineCoupling(conv, sides=1, clamp="cinn_code", alpha=alpha),
    )
    return bj.Stack(bj.Chain(step), count, memory)

  def features() -> RRDBFeatures:
    return RRDBFeatures(blocks, encoder_width, encoder_growth, dtype)

  splits = []
  current = channels
  for k in range(levels):
    kept = 2 * current if k < levels - 1 else channels
    splits.append(bj.Split(4 * current - kept))
    current = kept
  return HierarchicalFlow(
    stages=[
      bj.Chain((bj.Squeeze("channel"), steps(depth))) for _ in range(levels)
    ],
    splits=splits,
    details=[
      bj.Chain((steps(detail_depth), bj.AffineInjector(prior, alpha=2.0)))
      for _ in range(levels)
    ],
    feature_nets=[features() for _ in range(levels - 1)],
    condition_net=features(),
    std=math.exp(log_std),
  )
