"""The condition of one level of a pyramid, as maps of features."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array
from cinn_jax.models.networks.additions import resize
from cinn_jax.models.networks.subnets import Initializer
from cinn_jax.models.networks.transformer import Layers
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

# The entries of what a level is given, each an array or a dict of arrays.
Given = dict[str, Any]


class LevelCondition(nn.Module):
  """A small residual network over all that a level is given.

  It adds up a 3x3 convolution of the picture, whose blocks of pixels became
  channels; one of the coarser level; one of the hints, likewise in blocks; and
  a linear map of the classifier's features, each layer normalised. The maps of
  the hints and of the features start at 0, so the network starts as one without
  them.

  Attributes:
    cells: Height and width of the level's latents.
    width: Number of hidden channels.
    channels: Number of channels of the result.
    blocks: Number of residual blocks of two 3x3 convolutions.
    attention_layers: Number of layers after them in which all cells see each
      other.
    heads: Number of heads of these layers.
    dtype: Precision of the computation; None follows the data.
  """

  cells: int
  width: int = 64
  channels: int = 32
  blocks: int = 2
  attention_layers: int = 0
  heads: int = 1
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, given: Given) -> dict[str, Array]:
    """Maps the entries to {"maps": [B, cells, cells, channels]}, or to {}.

    All entries are optional. Without any there is no condition.

    Args:
      given: "picture" [B, H, W, C], of any size; "coarse" [B, cells, cells, C];
        "hints" [B, s, s, 3]; and "features", {rows: [B, rows, rows, C]}.
    """
    parts = []
    if "picture" in given:
      # Four by four pixels for each cell are enough, and cheap.
      blocks = _to_cells(given["picture"], 4 * self.cells, self.cells)
      parts.append(self._conv(self.width, "picture")(blocks))
    if "coarse" in given:
      parts.append(self._conv(self.width, "coarse")(given["coarse"]))
    if "hints" in given:
      hints = hints_in_cells(given["hints"], given.get("coarse"), self.cells)
      layer = self._conv(self.width, "hints", nn.initializers.zeros)
      parts.append(layer(hints))
    for rows, maps in sorted(given.get("features", {}).items(), reverse=True):
      normal = nn.LayerNorm(dtype=self.dtype, name=f"features_{rows}_norm")
      linear = nn.Dense(
        self.width,
        use_bias=False,
        kernel_init=nn.initializers.zeros,
        dtype=self.dtype,
        name=f"features_{rows}",
      )
      parts.append(resize(linear(normal(maps)), self.cells))
    if not parts:
      return {}
    hidden = sum(parts[1:], start=parts[0])
    for k in range(self.blocks):
      inner = self._conv(self.width, f"block_{k}_in")(nn.relu(hidden))
      hidden += self._conv(
        self.width, f"block_{k}_out", nn.initializers.normal(0.01)
      )(nn.relu(inner))
    if self.attention_layers:
      hidden = self._attend(hidden)
    maps = self._conv(self.channels, "out", kernel=1)(nn.relu(hidden))
    return {"maps": maps}

  def _attend(self, hidden: Array) -> Array:
    shape = (self.cells**2, self.width)
    positions = self.param("positions", nn.initializers.normal(0.02), shape)
    tokens = hidden.reshape(len(hidden), *shape)
    layers = Layers(
      self.attention_layers, self.heads, dtype=self.dtype, name="attention"
    )
    tokens, _ = layers(tokens + positions[None].astype(tokens.dtype))
    return tokens.reshape(hidden.shape)

  def _conv(
    self,
    channels: int,
    name: str,
    weights: Initializer | None = None,
    kernel: int = 3,
  ) -> nn.Conv:
    return nn.Conv(
      channels,
      (kernel, kernel),
      kernel_init=weights or nn.initializers.lecun_normal(),
      dtype=self.dtype,
      name=name,
      conv_general_dilated=conv_general_dilated,
    )


def hints_in_cells(hints: Array, coarse: Array | None, cells: int) -> Array:
  """Maps hints [B, s, s, 3] to [B, cells, cells, n].

  Each cell gets all hints inside it, so that details learn their places. Next
  to a coarser level, a hint is its difference from the colour there: that is
  all that it says of the details.
  """
  if hints.shape[1] < cells:
    hints = resize(hints, cells)
  if coarse is not None:
    colors = jnp.repeat(
      jnp.repeat(coarse, hints.shape[1] // cells, 1),
      hints.shape[2] // cells,
      2,
    )
    known = hints[..., 2:]
    hints = jnp.concatenate([hints[..., :2] - known * colors, known], -1)
  return _to_cells(hints, hints.shape[1], cells)


def _to_cells(picture: Array, most: int, cells: int) -> Array:
  """Maps [B, H, W, C] to [B, cells, cells, n], at most `most` pixels wide."""
  side = min(picture.shape[1], most) // cells * cells
  maps = resize(picture, max(side, cells))
  b, height, _, c = maps.shape
  n = height // cells
  blocks = maps.reshape(b, cells, n, cells, n, c).transpose(0, 1, 3, 2, 4, 5)
  return blocks.reshape(b, cells, cells, n * n * c)
