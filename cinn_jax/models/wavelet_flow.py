"""Wavelet flows: a pyramid of flows from coarse to fine, one for each level.

A picture is halved again and again by the orthonormal Haar transform. One flow
models what is left at last, the base. For each halving, one flow models the
three bands of details that it took away, given the coarser picture:

  p(x) = p(x_8) p(d_16 | x_8) p(d_32 | x_16) ...

The transform's log_det is 0, so this is an exact density of the same x as that
of a flow in one piece. No level needs the flows of the others, so each can be
trained alone. (Yu, Derpanis and Brubaker 2020, "Wavelet Flow", without a
condition. Conditions, their networks and autoregressive bases are ours.)
"""

import functools
import math
from collections.abc import Callable, Sequence

from jax.typing import DTypeLike

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.features import named
from cinn_jax.models.networks.level_condition import LevelCondition
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named
from cinn_jax.models.networks.taming import TamedSubnet
from cinn_jax.models.networks.token_networks import CausalTransformer
from cinn_jax.models.pyramid import BaseShift, PyramidFlow

BASES = ("autoregressive", "coupling")


def wavelet_flow(
  *,
  size: int = 32,
  base_size: int = 8,
  channels: int = 2,
  level: int = 0,
  features: str = "",
  base: str = "autoregressive",
  base_width: int = 64,
  base_depth: int = 4,
  base_layers: int = 2,
  base_encoder: int = 2,
  base_heads: int = 2,
  base_alpha: float = 2.0,
  base_given: bool = False,
  hidden: Sequence[int] = (64, 64),
  depths: Sequence[int] = (8, 8),
  condition_channels: Sequence[int] = (32, 32),
  condition_blocks: int = 2,
  alpha: float = 2.0,
  clamp: str = "tanh",
  mixing: str = "lu",
  far: float = 0.0,
  mean: float = 0.0,
  std: float = 1.0,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> PyramidFlow:
  """Builds a wavelet flow of x [B, size, size, channels].

  The condition is None; a picture [B, H, W, C] of any size; or {"lightness": a
  picture, "hints": [B, s, s, 3]}. Each level has a condition network of its
  own, see `LevelCondition`.

  Details: ActNorm, a mixing of the channels and a one-sided affine coupling of
  3x3, 1x1 and 3x3 convolutions, again and again; then a Gaussian whose means
  and scales depend linearly on the condition (`bijections.LearnedPrior`). Base:
  autoregressive blocks of cells as tokens, with a rotation between them, or
  couplings as for the details, on blocks of 2x2 cells.

  Args:
    size: Number of cells on a side of x, base_size times a power of 2.
    base_size: Number of cells on a side of the base.
    channels: Number of channels of x.
    level: Builds the flow of one level alone, by its number of cells; 0 builds
      all of them.
    features: Classifier whose features of the lightness all levels see, see
      `networks.features.named`; "" for none.
    base: "autoregressive" or "coupling".
    base_width: Width of the base's networks.
    base_depth: Number of blocks or couplings of the base; even for blocks.
    base_layers: Number of layers of a block's transformer.
    base_encoder: Number of layers in which the cells of the base's condition
      see each other.
    base_heads: Number of heads of these transformers.
    base_alpha: Bound of the log-scale in a block.
    base_given: Whether the condition is a small picture of x, as in
      super-resolution; the base is then what it leaves open (`BaseShift`).
    hidden: Width of the networks of the details, by level, the finest first.
    depths: Number of couplings there.
    condition_channels: Number of channels of the condition's maps there.
    condition_blocks: Number of residual blocks of each condition network.
    alpha, clamp: See `bijections.AffineCoupling`.
    mixing: A name in `bijections.MIXINGS`, for the details.
    far: Absolute value above which networks see details and coarser levels
      compressed, in standard deviations, see `networks.taming`; 0 for never.
      Without it, some samples explode.
    mean, std: Of x and of the picture in the condition, about.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the networks, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: for sizes or settings by level that do not fit, a level that
      there is not, or an unknown name.
  """
  sizes = _sizes(size, base_size)
  names = ("hidden", "depths", "condition_channels")
  for name, values in zip(
    names, (hidden, depths, condition_channels), strict=True
  ):
    if len(values) != len(sizes) - 1:
      raise ValueError(
        f"From {base_size} to {size} cells there are {len(sizes) - 1} levels of"
        f" details, but {name} has {len(values)} entries."
      )
  if level and level not in sizes:
    raise ValueError(
      f"There is no level of {level} cells; there are"
      f" {', '.join(map(str, sizes))}, or 0 for all."
    )
  if base not in BASES:
    raise ValueError(f"base is {' or '.join(BASES)}, got {base!r}.")
  dtype = compute_dtype_named(compute_dtype)
  couplings = functools.partial(
    _couplings,
    alpha=alpha,
    clamp=clamp,
    mixing=mixing,
    far=far,
    memory=memory,
    dtype=dtype,
  )

  def details(k: int) -> bj.Bijection:
    flow = couplings(hidden[k], depths[k])
    net = LevelCondition(
      sizes[k] // 2,
      width=hidden[k],
      channels=condition_channels[k],
      blocks=condition_blocks,
      dtype=dtype,
    )
    # Details are about a quarter of the picture's units.
    scale = bj.Standardize(0.0, std * size / sizes[k] / 4)
    return ConditionalFlow(bj.Chain((scale, *flow)), net)

  def coarsest() -> bj.Bijection:
    units = std * size / base_size
    scale = bj.Standardize(0.0, units)
    is_autoregressive = base == "autoregressive"
    net = LevelCondition(
      base_size if is_autoregressive else base_size // 2,
      width=base_width,
      channels=base_width,
      blocks=condition_blocks,
      attention_layers=base_encoder,
      heads=base_heads,
      dtype=dtype,
    )
    if not is_autoregressive:
      flow = (scale, bj.Squeeze(), *couplings(base_width, base_depth))
      return given(ConditionalFlow(bj.Chain(flow), net))
    if base_depth % 2:
      raise ValueError(
        "base_depth is even, as blocks come in pairs of both directions, got"
        f" {base_depth}."
      )
    network = functools.partial(
      CausalTransformer, base_width, base_layers, base_heads, dtype
    )
    pair = bj.Chain(
      [
        part
        for reverse in (False, True)
        for part in (
          bj.AutoregressiveBlock(network, base_alpha, reverse=reverse),
          bj.Orthogonal(),
        )
      ]
    )
    blocks = bj.Stack(pair, base_depth // 2, memory)
    return given(ConditionalFlow(bj.Chain((scale, blocks)), net))

  def given(flow: bj.Bijection) -> bj.Bijection:
    if not base_given:
      return flow
    return BaseShift(flow, scale=std * size / base_size, mean=mean / std)

  makers: dict[int, Callable[[], bj.Bijection]] = {
    cells: functools.partial(details, k) for k, cells in enumerate(sizes[:-1])
  }
  makers[base_size] = coarsest
  return PyramidFlow(
    {str(n): make() for n, make in makers.items() if level in (0, n)},
    size=size,
    base_size=base_size,
    channels=channels,
    features=named(features, of_lightness=not base_given),
    mean=mean,
    std=std,
    far=far,
  )


def _sizes(size: int, base_size: int) -> list[int]:
  halvings = round(math.log2(max(size, 1) / max(base_size, 1)))
  if base_size < 2 or halvings < 0 or size != base_size * 2**halvings:
    raise ValueError(
      "size must be base_size times a power of 2, and base_size at least 2, got"
      f" {size} and {base_size}."
    )
  return [size >> k for k in range(halvings + 1)]


def _couplings(
  width: int,
  depth: int,
  *,
  alpha: float,
  clamp: str,
  mixing: str,
  far: float,
  memory: str,
  dtype: DTypeLike | None,
) -> tuple[bj.Bijection, ...]:
  kind = functools.partial(TamedSubnet, far=far) if far else Subnet
  net = functools.partial(
    kind, widths=(width,) * 2, kernels=(3, 1, 3), dtype=dtype
  )
  step = bj.Chain(
    (
      bj.ActNorm(),
      bj.mixing_named(mixing)(),
      bj.AffineCoupling(net, sides=1, alpha=alpha, clamp=clamp),
    )
  )
  return bj.Stack(step, depth, memory), bj.LearnedPrior()
