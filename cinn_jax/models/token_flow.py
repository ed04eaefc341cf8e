"""Flows of pictures as tokens: TARFlow and Jet, given pictures and classes."""

import functools
from collections.abc import Callable
from typing import Any

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import compute_dtype_named
from cinn_jax.models.networks.token_condition import TokenCondition
from cinn_jax.models.networks.token_networks import (
  CausalTransformer,
  TransformerSubnet,
)

KINDS = ("autoregressive", "coupling")


def token_flow(
  *,
  size: int | tuple[int, int] = 32,
  kind: str = "autoregressive",
  patch: int = 4,
  transform: str = "dct",
  width: int = 64,
  head_width: int = 32,
  blocks: int = 4,
  layers: int = 3,
  rotation: bool = True,
  alpha: float = 2.0,
  clamp: str = "tanh",
  sampler: str = "scan",
  spatial_every: int = 0,
  conditioned: bool = True,
  condition_layers: int = 2,
  condition_stem: str = "convolutions",
  mean: float = 0.0,
  std: float = 1.0,
  remat_layers: bool = False,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds a token flow: pictures [B, H, W, C] given pictures and vectors.

  A picture becomes a grid of patches. Either kind of block is a transformer:

  - "autoregressive": each token is scaled and shifted given all tokens before
    it, in raster order and in reverse by turns, with a rotation of the tokens'
    numbers after each block (TARFlow, Zhai et al. 2025, for pictures without a
    condition or of a class). Sampling takes one step per token and block.
  - "coupling": one half of the numbers of all tokens steers the other, after a
    random permutation (Jet, Kolesnikov et al. 2024); or, if `spatial_every` is
    set, one half of the tokens steers the other half. Sampling takes one pass.

  One network embeds the condition for all blocks, see `TokenCondition`; it runs
  once, however many samples are drawn. Any block may see any of its tokens.

  Departures: the condition; patches are transformed and rotated (transform
  "none" and rotation=False are as published); scales are bounded by a soft
  clamp, where TARFlow has none (clamp "jet" is Jet's); TARFlow's first token of
  a block does not change, here it does; Jet's couplings of tokens are left out
  by default (`spatial_every`), and their networks see half tokens there, here
  whole ones of half the positions.

  Args:
    size: Height and width of the pictures, S or (H, W).
    kind: One of `KINDS`.
    patch: Side of a patch; it divides the size.
    transform: See `bijections.Patches`.
    width: Width d of the transformers.
    head_width: Width of an attention head; it divides `width`.
    blocks: Number of blocks.
    layers: Number of transformer layers of a block.
    rotation: Whether a fixed random rotation of a token's numbers follows each
      autoregressive block.
    alpha, clamp: Bound of a block's log-scale, see `bijections.AffineCoupling`.
    sampler: See `bijections.AutoregressiveBlock`.
    spatial_every: Every n-th coupling is a `bijections.SpatialCoupling`; their
      patterns take turns. 0 for none.
    conditioned: False ignores the condition.
    condition_layers: Number of layers of the condition's transformer.
    condition_stem: See `TokenCondition`.
    mean, std: Pictures, those of the condition too, are standardized by
      (picture - mean) / std.
    remat_layers: Keeps only the input of each transformer layer for gradients.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the transformers, a name in
      `subnets.COMPUTE_DTYPES`; their outputs are float32.

  Raises:
    ValueError: For an unknown kind, for sizes that do not divide, and for
      `spatial_every` with another kind, few blocks or a grid of odd size.
  """
  if kind not in KINDS:
    raise ValueError(f"kind is one of {', '.join(KINDS)}, got {kind!r}.")
  height, width_of_picture = (size, size) if isinstance(size, int) else size
  if patch < 1 or height % patch or width_of_picture % patch:
    raise ValueError(
      f"token_flow takes a patch that divides {height}x{width_of_picture},"
      f" got {patch}."
    )
  if head_width < 1 or width % head_width:
    raise ValueError(
      f"token_flow takes a head_width that divides its width {width}, got"
      f" {head_width}."
    )
  if blocks < 1 or layers < 1:
    raise ValueError(
      f"token_flow takes 1 block and 1 layer or more, got {blocks}, {layers}."
    )
  grid = (height // patch, width_of_picture // patch)
  if spatial_every:
    _check_spatial(spatial_every, kind, blocks, grid)
  options: dict[str, Any] = {
    "width": width,
    "heads": width // head_width,
    "dtype": compute_dtype_named(compute_dtype),
    "remat": remat_layers,
  }

  def autoregressive() -> list[bj.Bijection]:
    # Blocks come in pairs of both orders.
    pair = functools.partial(_pair, net, rotation, alpha, clamp, sampler)
    stacks: list[bj.Bijection] = []
    if blocks > 1:
      stacks.append(bj.Stack(bj.Chain(pair()), blocks // 2, memory))
    if blocks % 2:
      half = bj.Chain(pair()[: 1 + rotation])
      stacks.append(bj.Stack(half, 1, memory))
    return stacks

  def channels(depth: int, policy: str) -> list[bj.Bijection]:
    steps = bj.AffineCoupling(net, sides=1, alpha=alpha, clamp=clamp)
    block = bj.Chain((bj.Permutation(), steps))
    return [bj.Stack(block, depth, policy)] if depth else []

  def coupling() -> list[bj.Bijection]:
    if not spatial_every:
      return channels(blocks, memory)
    spatial = bj.SpatialCoupling(net, alpha=alpha, clamp=clamp)
    # To the memory policy, a group is one block.
    group = bj.Chain((*channels(spatial_every - 1, "store"), spatial))
    groups = bj.SpatialStack(group, blocks // spatial_every, memory)
    return [groups, *channels(blocks % spatial_every, memory)]

  net: Callable
  if kind == "coupling":
    net = functools.partial(TransformerSubnet, layers=layers, **options)
    stacks = coupling()
  else:
    net = functools.partial(CausalTransformer, layers=layers, **options)
    stacks = autoregressive()
  front: list[bj.Bijection] = [bj.Patches(patch, transform)]
  if (mean, std) != (0.0, 1.0):
    front.insert(0, bj.Standardize(mean, std))
  flow: bj.Bijection = bj.Chain((*front, *stacks))
  if not conditioned:
    return ConditionalFlow(bj.Conditioned(flow, None))
  condition_net = TokenCondition(
    grid=grid,
    layers=condition_layers,
    stem=condition_stem,
    mean=mean,
    std=std,
    **options,
  )
  return ConditionalFlow(flow, condition_net)


def _check_spatial(
  every: int, kind: str, blocks: int, grid: tuple[int, int]
) -> None:
  """Raises ValueError if there can be no coupling of halves of the tokens."""
  if kind != "coupling" or not 1 <= every <= blocks:
    raise ValueError(
      "spatial_every is for kind='coupling', and at most its number of blocks;"
      f" got spatial_every {every}, kind {kind!r}, blocks {blocks}."
    )
  if grid[0] % 2 or grid[1] % 2:
    raise ValueError(
      "spatial_every takes an even number of patches in height and width, got"
      f" {grid[0]}x{grid[1]}: change the size or the patch."
    )


def _pair(
  net: Callable, rotation: bool, alpha: float, clamp: str, sampler: str
) -> tuple[bj.Bijection, ...]:
  """Returns two autoregressive blocks of opposite orders."""
  parts: list[bj.Bijection] = []
  for reverse in (False, True):
    parts.append(
      bj.AutoregressiveBlock(
        net, alpha=alpha, clamp=clamp, reverse=reverse, sampler=sampler
      )
    )
    if rotation:
      parts.append(bj.Orthogonal())
  return tuple(parts)
