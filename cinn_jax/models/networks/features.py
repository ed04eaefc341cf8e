"""Features of an ImageNet classifier, EfficientNet-lite0, as a condition.

The network is frozen: its weights are constants, which come from a file. The
package ships them up to block 10; `cinn_jax.importing.efficientnet` makes the
file. (Tan and Le 2019; the variant "lite" is Google's of 2020: no
squeeze-and-excitation, ReLU6.)
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, check_image
from cinn_jax.images import color
from cinn_jax.models.networks.additions import Additions
from cinn_jax.runtime import storage

# The weights that the package ships; its README.md has their licence.
SHIPPED = (
  pathlib.Path(__file__).parents[2] / "weights" / "efficientnet_lite0"
).with_suffix(".safetensors")
# The name of the network with these weights, and that of features that come
# with the condition, in configs.
EFFICIENTNET, GIVEN = "efficientnet_lite0", "given"


class Block(NamedTuple):
  """One inverted bottleneck: a 1x1, a depthwise and a 1x1 convolution."""

  kernel: int
  stride: int
  expansion: int
  channels: int


STEM_CHANNELS = 32
# Side of the smallest pictures in which the network knows objects.
SIZE = 128
BLOCKS = tuple(
  Block(kernel, stride if k == 0 else 1, expansion, channels)
  for kernel, stride, expansion, channels, repeats in (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
  )
  for k in range(repeats)
)
# The last block of each resolution that serves as features, by stride.
TAPS = {4: 2, 8: 4, 16: 10}
CHANNELS = {stride: BLOCKS[index].channels for stride, index in TAPS.items()}


def shapes(size: int) -> dict[int, tuple[int, int, int]]:
  """Returns the shapes [rows, rows, C] of `LightnessFeatures`, by rows."""
  side = size * enlargement(size, SIZE)
  return {
    side // stride: (side // stride, side // stride, channels)
    for stride, channels in CHANNELS.items()
  }


def enlargement(size: int, least: int) -> int:
  """Returns the factor by which pictures are enlarged to a size at least."""
  return max(-(-least // size), 1)


class EfficientNetLite0(nn.Module):
  """Features of pictures at strides 4, 8 and 16; nothing is trained.

  Attributes:
    weights: File with the weights; "" takes the one that the package ships.
    blocks: Number of blocks to run. The shipped weights have 11.
  """

  weights: str = ""
  blocks: int = 11

  @nn.compact
  def __call__(self, pictures: Array) -> dict[int, Array]:
    """Maps RGB [B, H, W, 3] in [0, 1] to {stride: [B, H/s, W/s, C]}.

    Each side must be a multiple of 16, and C is `CHANNELS[stride]`. No gradient
    passes.

    Raises:
      ValueError: for another shape, or if the file is for another network.
      FileNotFoundError: if there is no such file.
    """
    check_image(pictures, "EfficientNetLite0")
    if pictures.shape[-1] != 3 or any(n % 16 for n in pictures.shape[1:3]):
      raise ValueError(
        "EfficientNetLite0 takes RGB [B, H, W, 3] with sides that are multiples"
        f" of 16, got shape {pictures.shape}."
      )
    hidden = (pictures * 255 - 127) / 128
    hidden = nn.relu6(self._conv("stem", hidden, 3, 2, STEM_CHANNELS))
    features = {}
    for k, block in enumerate(BLOCKS[: self.blocks]):
      hidden = self._block(f"block_{k}", block, hidden)
      for stride, tap in TAPS.items():
        if k == tap:
          features[stride] = jax.lax.stop_gradient(hidden)
    return features

  def _block(self, name, block, x):
    hidden, inputs = x, x.shape[-1]
    width = inputs * block.expansion
    if block.expansion > 1:
      hidden = nn.relu6(self._conv(f"{name}/expand", hidden, 1, 1, width))
    hidden = self._conv(
      f"{name}/depthwise",
      hidden,
      block.kernel,
      block.stride,
      width,
      groups=width,
    )
    hidden = nn.relu6(hidden)
    hidden = self._conv(f"{name}/project", hidden, 1, 1, block.channels)
    is_residual = block.stride == 1 and inputs == block.channels
    return x + hidden if is_residual else hidden

  def _conv(self, name, x, kernel, stride, channels, groups=1):
    shape = (kernel, kernel, x.shape[-1] // groups, channels)
    weight = self._constant(f"{name}/kernel", shape)
    bias = self._constant(f"{name}/bias", (channels,))
    if self.is_initializing():
      # The compiler would evaluate a network of constants, for minutes. Nobody
      # looks at these features: the maps of them start at 0.
      b, height, width, _ = x.shape
      rows, columns = -(-height // stride), -(-width // stride)
      return jnp.zeros((b, rows, columns, channels), x.dtype)
    hidden = jax.lax.conv_general_dilated(
      x,
      weight.astype(x.dtype),
      (stride, stride),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=groups,
    )
    return hidden + bias.astype(x.dtype).reshape(1, 1, 1, channels)

  def _constant(self, name, shape):
    return self.variable(
      "constants",
      name.replace("/", "_"),
      lambda: jnp.asarray(
        _stored(self.weights, name, shape).astype(np.float32)
      ),
    ).value


class LightnessFeatures(nn.Module):
  """Features of a grey picture, given its normalised lightness.

  Attributes:
    weights: See `EfficientNetLite0`.
    offset, scale: L is cond * scale + offset.
    size: Side to which the picture is enlarged at least.
  """

  weights: str = ""
  offset: float = 47.5
  scale: float = 25.6
  size: int = SIZE

  @nn.compact
  def __call__(self, lightness: Array) -> dict[int, Array]:
    """Maps normalised L [B, H, W, 1] to features by their number of rows."""
    levels = jnp.clip(lightness * self.scale + self.offset, 0, 100)
    b, height, width, _ = levels.shape
    factor = enlargement(min(height, width), self.size)
    if factor > 1:
      levels = jax.image.resize(
        levels, (b, factor * height, factor * width, 1), "linear"
      )
    lab = jnp.pad(levels, [(0, 0)] * 3 + [(0, 2)])
    network = EfficientNetLite0(self.weights, name="network")
    features = network(color.lab_to_srgb(lab))
    return {maps.shape[1]: maps for maps in features.values()}


class PictureFeatures(nn.Module):
  """Features of the first three channels of a picture, or of its only one.

  Attributes:
    weights: See `EfficientNetLite0`.
    size: Side to which the picture is enlarged at least, see
      `LightnessFeatures`.
  """

  weights: str = ""
  size: int = SIZE

  @nn.compact
  def __call__(self, picture: Array) -> dict[int, Array]:
    """Maps [B, H, W, C] in [0, 1] to features by their number of rows."""
    colors = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1]
    b, height, width, _ = colors.shape
    colors = jnp.broadcast_to(colors, (b, height, width, 3))
    factor = enlargement(min(height, width), self.size)
    colors = jax.image.resize(
      colors, (b, factor * height, factor * width, 3), "linear"
    )
    network = EfficientNetLite0(self.weights, name="network")
    return {maps.shape[1]: maps for maps in network(colors).values()}


def named(name: str, *, of_lightness: bool = True) -> nn.Module | None:
  """Returns the network of features for a config's `features`.

  Args:
    name: "" for none; "efficientnet_lite0", with the weights that the package
      ships; or a file with weights of it, see `importing.efficientnet`.
    of_lightness: Whether the condition is a normalised L, not a picture.
  """
  if not name:
    return None
  weights = "" if name == EFFICIENTNET else name
  if of_lightness:
    return LightnessFeatures(weights)
  return PictureFeatures(weights)


def additions(
  name: str,
  *,
  hints: bool = False,
  of_lightness: bool = True,
  dtype: DTypeLike | None = None,
) -> Additions | None:
  """Returns what a flow adds to its condition; None for nothing.

  Args:
    name: As for `named`; "given" for a condition that brings features along.
    hints: Whether the condition has hints.
    of_lightness: As for `named`.
    dtype: See `Additions`.
  """
  if not name and not hints:
    return None
  network = named("" if name == GIVEN else name, of_lightness=of_lightness)
  return Additions(network, dtype)


def read_weights(path: str) -> Mapping[str, np.ndarray]:
  """Returns the arrays of a file of weights by name; "" is the shipped file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not a file of arrays.
  """
  file = storage.path(path or SHIPPED)
  if not file.exists():
    raise FileNotFoundError(
      f"No file {file} with the weights of EfficientNet-lite0: make one by"
      " python -m cinn_jax.importing.efficientnet, or leave the setting empty."
    )
  return _read(path or str(SHIPPED))


@functools.cache
def _read(path):
  try:
    return safetensors.numpy.load(storage.path(path).read_bytes())
  except safetensors.SafetensorError as error:
    raise ValueError(f"{path} is damaged ({error}).") from None


def _stored(path, name, shape):
  array = read_weights(path).get(name)
  if array is None or array.shape != shape:
    got = "nothing" if array is None else f"shape {list(array.shape)}"
    raise ValueError(
      f"{path or SHIPPED} is not for EfficientNet-lite0: {name} must have shape"
      f" {list(shape)}, and there is {got}."
    )
  return array
