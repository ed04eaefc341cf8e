"""Conditional Glow: every layer sees the given picture (Lu and Huang 2020)."""

import functools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Array
from cinn_jax.models.conditional_flow import PictureFlow
from cinn_jax.models.image_cinn import PictureFeatures
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.features import additions
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.sizes import check_levels


class FeaturesAndMean(nn.Module):
  """Features by level, and the mean over positions of the coarsest ones.

  Attributes:
    features: Network from the condition and the size of the data to
      {"level_0": ..., ...}.
  """

  features: nn.Module

  @nn.compact
  def __call__(self, cond: Array, size: Sequence[int]) -> Mapping[str, Array]:
    """Returns the features with their mean as "vector" [B, c]."""
    levels = self.features(cond, size)
    coarsest = levels[f"level_{len(levels) - 1}"]
    return {**levels, "vector": jnp.mean(nn.relu(coarsest), axis=(1, 2))}


def conditional_glow(
  *,
  levels: int = 3,
  depth: int = 8,
  hidden: int = 256,
  head: int = 128,
  condition_channels: Sequence[int] = (64, 64, 128),
  condition_convolutions: int = 2,
  alpha: float = 9.21,
  channels: int = 3,
  features: str = "",
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PictureFlow:
  """Builds Conditional Glow: [B, H, W, channels] in [0, 1) given a picture.

  The given picture [B, h, w, C] may have any size; H and W are multiples of
  2^levels. A step is an ActNorm, a scale and a shift per channel, 1x1 mixing
  and a one-sided coupling. The condition chooses scale and shift, adds to the
  mixing, and is an input of the coupling's network.

  Departures: one network makes features of the condition for all steps, while
  the published steps have a network each for ActNorm and mixing; both start as
  Glow's own, from data and from a rotation, and the condition adds to them; the
  conditional mixing is a product of triangular matrices that cannot be
  singular, see `bijections.ConditionalMixing`.

  Args:
    levels, depth: Number of levels and steps per level, published as 3 and 8.
    hidden: Width of the couplings' networks (3x3, 1x1, 3x3).
    head: Width of the networks that condition ActNorm and mixing.
    condition_channels: Number of channels of the features, by level.
    condition_convolutions: Number of convolutions that make them, per level.
    alpha: Scales of couplings are sigmoid(s + 2) + exp(-alpha). Each inverse
      multiplies by up to exp(alpha), so samples at temperature 1 can explode,
      see `configs/README.md`; a smaller alpha bounds it.
    channels: Number of channels of a picture.
    features: Classifier whose features of the given picture are added to the
      condition's, see `networks.features.named`; "" for none.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of condition network and subnets, a name in
      `subnets.COMPUTE_DTYPES`; priors are float32.

  Raises:
    ValueError: If condition_channels do not match levels. The model raises it
      for a picture of another size.
  """
  if len(condition_channels) != check_levels(levels):
    raise ValueError(
      f"conditional_glow takes condition_channels for {levels} levels, got"
      f" {len(condition_channels)}."
    )
  dtype = compute_dtype_named(compute_dtype)
  subnet = functools.partial(Subnet, dtype=dtype)
  conv = functools.partial(subnet, widths=(hidden,) * 2, kernels=(3, 1, 3))
  dense = functools.partial(subnet, widths=(head,), kernels=(1, 1))

  def level(k: int) -> bj.Chain:
    step = bj.Chain(
      (
        bj.ActNorm(),
        bj.Conditioned(bj.AffineInjector(dense), "vector"),
        bj.InvertibleConv1x1(),
        bj.Conditioned(bj.ConditionalMixing(dense), "vector"),
        bj.Conditioned(
          bj.AffineCoupling(conv, sides=1, clamp="sigmoid", alpha=alpha),
          f"level_{k}",
        ),
      )
    )
    return bj.Chain((bj.Squeeze("channel"), bj.Stack(step, depth, memory)))

  net = functools.partial(Subnet, widths=(), kernels=(3,))
  # Squeezed channels are four times as many, of which half stay.
  splits = [
    bj.Conditioned(
      bj.PriorSplit(bj.Split(2 * channels * 2**k), net), f"level_{k}"
    )
    for k in range(levels - 1)
  ]
  pyramid = Pyramid(
    tuple(
      ((width, 2), *((width, 1),) * (condition_convolutions - 1))
      for width in condition_channels
    ),
    dtype=dtype,
  )
  return PictureFlow(
    bj.MultiScale([level(k) for k in range(levels)], splits),
    FeaturesAndMean(PictureFeatures(levels, pyramid)),
    multiple=2**levels,
    title="conditional_glow",
    additions=additions(features, of_lightness=False, dtype=dtype),
  )
