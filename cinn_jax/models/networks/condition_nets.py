"""Condition networks: an image to features for each level of a flow."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array
from cinn_jax.models.networks.normalization import Norm
from cinn_jax.models.networks.subnets import initializers
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


class Pyramid(nn.Module):
  """Convolutions that compute each level's features from the finer ones.

  The condition network of the LSUN cINN (Ardizzone et al. 2019, published
  code), for any number of levels. A (leaky) ReLU precedes every layer but the
  first, so features leave a level before its non-linearity.

  Attributes:
    levels: The (channels, stride) of each level's 3x3 convolutions.
    vector: Number of channels of a global feature, or 0 for none. The last
      level is averaged over `pool` x `pool` pixels, flattened, and goes through
      a dense layer, which fixes the image size.
    pool: Side of the pooling window for `vector`.
    negative_slope: Negative slope of the ReLU; the authors' is 0.01.
    dtype: Precision of the computation; None follows the data.
  """

  levels: Sequence[Sequence[tuple[int, int]]]
  vector: int = 0
  pool: int = 4
  negative_slope: float = 0.0
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, cond: Array) -> dict[str, Array]:
    """Maps [B, H, W, C] to {"level_0": [B, h, w, c], ..., "vector": [B, c]}."""
    features = {}
    hidden = cond
    for k, layers in enumerate(self.levels):
      for i, (channels, stride) in enumerate(layers):
        if k + i > 0:
          hidden = self._activation(hidden)
        hidden = _conv(channels, stride, dtype=self.dtype)(hidden)
      features[f"level_{k}"] = hidden
    if self.vector:
      window = (self.pool,) * 2
      hidden = nn.avg_pool(self._activation(hidden), window, window)
      hidden = hidden.reshape(hidden.shape[0], -1)
      features["vector"] = nn.Dense(self.vector, dtype=self.dtype)(hidden)
    return features

  def _activation(self, hidden):
    if self.negative_slope == 0:
      return nn.relu(hidden)
    return nn.leaky_relu(hidden, self.negative_slope)


class Head(nn.Module):
  """One coupling's own network on shared features (ImageNet cINN).

  Strided 3x3 convolutions bring the features to the coupling's resolution. A
  last convolution makes `channels` maps, which are normalised.

  Attributes:
    level: Number of strided convolutions.
    channels: Number of maps.
    norm: See `Norm`.
    init_std: See `Subnet`.
    width: See `ColorfulNet`.
    dtype: Precision of the computation; None follows the data.
  """

  level: int
  channels: int
  norm: str = "group"
  init_std: float | None = None
  width: int = 64
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, features: Array) -> Array:
    hidden = features
    for times in (2, 2, 4)[: self.level]:
      width = times * self.width
      hidden = _conv(width, 2, self.init_std, self.dtype)(hidden)
      hidden = nn.leaky_relu(hidden, 0.01)
    hidden = _conv(self.channels, 1, self.init_std, self.dtype)(hidden)
    return Norm(self.norm, self.init_std)(hidden)


class GlobalHead(nn.Module):
  """Maps shared features [B, 64, 64, 256] to a vector [B, 512] (ImageNet cINN).

  Attributes:
    norm: See `Norm`.
    width: See `ColorfulNet`.
    dtype: Precision of the computation; None follows the data.
  """

  norm: str = "group"
  width: int = 64
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, features: Array) -> Array:
    hidden = features
    for k, times in enumerate((2, 4, 4, 8)):
      if k > 0:
        hidden = nn.leaky_relu(hidden, 0.01)
      hidden = _conv(times * self.width, 2, dtype=self.dtype)(hidden)
    vector = jnp.mean(hidden, axis=(1, 2))
    return Norm(self.norm)(vector)


class ColorfulNet(nn.Module):
  """The VGG-like network of Zhang et al. 2016, "Colorful Image Colorization".

  It maps lightness to features at a quarter of its resolution.

  Attributes:
    norm: See `Norm`.
    width: Number of channels of the first convolutions, published as 64. All
      other widths are multiples of it.
    dtype: Precision of the computation; None follows the data.
  """

  norm: str = "group"
  width: int = 64
  dtype: DTypeLike | None = None

  # (channels / width, stride, dilation) of the convolutions of each group.
  GROUPS = (
    ((1, 1, 1), (1, 2, 1)),
    ((2, 1, 1), (2, 2, 1)),
    ((4, 1, 1), (4, 1, 1), (4, 2, 1)),
    ((8, 1, 1),) * 3,
    ((8, 1, 2),) * 3,
    ((8, 1, 2),) * 3,
    ((8, 1, 1),) * 3,
  )

  @nn.compact
  def __call__(self, lightness: Array) -> Array:
    """Maps centred lightness [B, H, W, 1] to [B, H/4, W/4, 4 * width]."""
    hidden = lightness
    for layers in self.GROUPS:
      for times, stride, dilation in layers:
        channels = times * self.width
        layer = _conv(channels, stride, dtype=self.dtype, dilation=dilation)
        hidden = nn.relu(layer(hidden))
      hidden = Norm(self.norm)(hidden)
    # Doubles the resolution and adds a pixel on each side, cropped at the end.
    channels = 4 * self.width
    hidden = nn.ConvTranspose(
      channels, (4, 4), (2, 2), padding="VALID", dtype=self.dtype
    )(hidden)
    hidden = _conv(channels, 1, dtype=self.dtype)(nn.relu(hidden))
    hidden = _conv(channels, 1, dtype=self.dtype)(nn.relu(hidden))
    return hidden[:, 1:-1, 1:-1]


class ColorClassifier(nn.Module):
  """`ColorfulNet`'s own prediction of ab, an annealed mean.

  It predicts a distribution over 313 bins of ab, sharpens it, and takes the
  mean of the bins' centres. The flow does not use it. It serves to pretrain the
  features, and to inspect them.

  Attributes:
    bins: Number of bins.
    sharpness: Factor of the logits.
  """

  bins: int = 313
  sharpness: float = 2.606

  @nn.compact
  def __call__(self, features: Array) -> Array:
    """Maps [B, h, w, 256] to ab [B, h, w, 2]."""
    logits = nn.Conv(self.bins, (1, 1))(nn.relu(features))
    return nn.Conv(2, (1, 1))(nn.softmax(self.sharpness * logits))


class ColorizationFeatures(nn.Module):
  """The ImageNet cINN's condition network: `ColorfulNet` and a global vector.

  The couplings' heads belong to the couplings.

  Attributes:
    lightness_scale, lightness_shift: Map the task's lightness to L - 50, the
      input of the published feature network.
    norm: See `Norm`.
    width: See `ColorfulNet`.
    dtype: Precision of the computation; None follows the data.
  """

  lightness_scale: float
  lightness_shift: float
  norm: str = "group"
  width: int = 64
  dtype: DTypeLike | None = None

  def setup(self) -> None:
    self.feature_net = ColorfulNet(self.norm, self.width, self.dtype)
    self.global_head = GlobalHead(self.norm, self.width, self.dtype)
    self.classifier = ColorClassifier()

  def __call__(self, cond: Array) -> dict[str, Array]:
    """Maps normalised lightness [B, H, W, 1] to features and a vector.

    Returns {"features": [B, H/4, W/4, 256], "vector": [B, 512]}.
    """
    features = self._features(cond)
    if self.is_initializing():
      self.classifier(features)
    return {"features": features, "vector": self.global_head(features)}

  def predict_ab(self, cond: Array) -> Array:
    """Returns the feature network's own guess of ab [B, H/4, W/4, 2]."""
    return self.classifier(self._features(cond))

  def _features(self, cond):
    centred = cond * self.lightness_scale + self.lightness_shift
    return self.feature_net(centred)


def _conv(
  channels: int,
  stride: int = 1,
  init_std: float | None = None,
  dtype: DTypeLike | None = None,
  dilation: int = 1,
) -> nn.Conv:
  """Builds a 3x3 convolution that keeps the size or divides it by `stride`."""
  weights, biases = initializers(init_std)
  return nn.Conv(
    channels,
    (3, 3),
    (stride, stride),
    padding=((dilation, dilation), (dilation, dilation)),
    kernel_dilation=dilation,
    kernel_init=weights,
    bias_init=biases,
    dtype=dtype,
    conv_general_dilated=conv_general_dilated,
  )
