"""The condition of a token flow: one embedding for each token, made once."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.transformer import Layers

STEMS = ("convolutions", "patches")
# Entries of a condition that are added by weights that start at 0.
_ADDED = ("features", "hints")


class TokenCondition(nn.Module):
  """Embeds pictures and vectors, then lets all tokens see each other.

  Pictures of any size are brought to the grid of the tokens and embedded.
  Vectors, and the entries "features" and "hints" of a condition that is a dict,
  are added by weights that start at 0, so the network starts as one without
  them; features are normalised first. A transformer without a causal order
  follows.

  Attributes:
    grid: Height and width of the grid of tokens.
    width: Width d of an embedding.
    layers: Number of the transformer's layers.
    heads: Number of its heads; it divides the width.
    stem: The pictures' embedding. "convolutions" are 3x3, with strides of 2
      down to the grid; "patches" is a linear map of each token's pixels.
    mean, std: Pictures are standardized by (picture - mean) / std.
    dtype: Precision of the computation; None follows the data.
    remat: See `transformer.Layers`.
  """

  grid: tuple[int, int]
  width: int
  layers: int
  heads: int
  stem: str = "convolutions"
  mean: float = 0.0
  std: float = 1.0
  dtype: DTypeLike | None = None
  remat: bool = False

  @nn.compact
  def __call__(self, cond: Condition) -> Array:
    """Maps a condition to [B, h, w, d].

    Args:
      cond: A pytree of pictures [B, H, W, C] and vectors [B, C]. If it is a
        dict, its entries "features" and "hints" are pytrees of pictures.

    Raises:
      ValueError: if it is empty, for an unknown stem, or for a leaf of another
        shape.
    """
    if self.stem not in STEMS:
      raise ValueError(
        f"Unknown stem {self.stem!r}; there are {', '.join(STEMS)}."
      )
    given, added = cond, {}
    if isinstance(cond, Mapping):
      given = {k: v for k, v in cond.items() if k not in _ADDED}
      added = {k: cond[k] for k in _ADDED if k in cond}
    shape = (math.prod(self.grid), self.width)
    positions = self.param("positions", nn.initializers.normal(0.02), shape)
    tokens = positions[None]
    for i, leaf in enumerate(jax.tree.leaves(given)):
      _check(leaf)
      if leaf.ndim == 2:
        tokens = tokens + self._zero(f"vector_{i}")(leaf)[:, None]
      else:
        tokens = tokens + self._embedding((leaf - self.mean) / self.std, i)
    for name, tree in sorted(added.items()):
      for i, leaf in enumerate(jax.tree.leaves(tree)):
        _check(leaf)
        if leaf.ndim == 2:
          raise ValueError(f"{name} must be pictures, got shape {leaf.shape}.")
        maps = _to_grid(leaf, self.grid)
        if name == "features":
          maps = nn.LayerNorm(dtype=self.dtype, name=f"features_{i}_norm")(maps)
        tokens = tokens + self._zero(f"{name}_{i}")(_flat(maps))
    if len(jax.tree.leaves(cond)) == 0:
      raise ValueError(
        "This token flow has no condition: pass one, or build it with"
        " conditioned=False."
      )
    tokens, _ = Layers(
      self.layers,
      self.heads,
      dtype=self.dtype,
      remat=self.remat,
      name="trunk",
    )(tokens)
    tokens = nn.LayerNorm(dtype=self.dtype, name="norm")(tokens)
    return tokens.reshape(len(tokens), *self.grid, self.width)

  def _embedding(self, picture: Array, i: int) -> Array:
    """Embeds a picture [B, H, W, C] as [B, h w, d]."""
    picture, n = _fit(picture, self.grid, is_halved=self.stem != "patches")
    if self.stem == "patches":
      pixels = _flat(_to_grid(picture, self.grid))
      return nn.Dense(self.width, dtype=self.dtype, name=f"picture_{i}")(pixels)
    halvings = n.bit_length() - 1
    strides = [1] * max(2 - halvings, 0) + [2] * halvings
    widths = [min(32 * 2**k, self.width) for k in range(len(strides) - 1)]
    convolutions = tuple(zip([*widths, self.width], strides, strict=True))
    net = Pyramid((convolutions,), dtype=self.dtype, name=f"picture_{i}")
    return _flat(net(picture)["level_0"])

  def _zero(self, name: str) -> nn.Dense:
    return nn.Dense(
      self.width,
      use_bias=False,
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
      name=name,
    )


def _check(leaf):
  if leaf.ndim not in (2, 4) or not leaf.shape[-1]:
    raise ValueError(
      "A token flow takes conditions [B, H, W, C] or [B, C], got shape"
      f" {leaf.shape}; for none, build it with conditioned=False."
    )


def _fit(
  picture: Array, grid: tuple[int, int], *, is_halved: bool
) -> tuple[Array, int]:
  """Returns a picture of n times the grid's size, and n.

  n is the least number that keeps all pixels, a power of 2 if `is_halved`. A
  picture of another size is enlarged by the bicubic filter.
  """
  b, height, width, c = picture.shape
  n = max(-(-height // grid[0]), -(-width // grid[1]), 1)
  if is_halved:
    n = 1 << (n - 1).bit_length()
  size = (n * grid[0], n * grid[1])
  if size != (height, width):
    picture = jax.image.resize(picture, (b, *size, c), "cubic")
  return picture, n


def _to_grid(maps: Array, grid: tuple[int, int]) -> Array:
  """Maps [B, H, W, C] to [B, h, w, n n C]: the pixels of each token."""
  maps, n = _fit(maps, grid, is_halved=False)
  b, _, _, c = maps.shape
  h, w = grid
  blocks = maps.reshape(b, h, n, w, n, c).transpose(0, 1, 3, 2, 4, 5)
  return blocks.reshape(b, h, w, n * n * c)


def _flat(maps: Array) -> Array:
  """Maps [B, h, w, C] to [B, h w, C]."""
  return maps.reshape(len(maps), -1, maps.shape[-1])
