"""Condition networks: an image to features for each level of a flow."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cinn_jax.models.networks.normalization import Norm
from cinn_jax.models.networks.subnets import initializers
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


class Pyramid(nn.Module):
  """Convolutions whose coarser levels are computed from the finer ones.

  The condition network of the LSUN cINN (Ardizzone et al. 2019, published
  code), for any number of levels. A (leaky) ReLU stands before every layer but
  the first, so features leave a level before its non-linearity.

  Attributes:
    levels: per level, (channels, stride) of its 3x3 convolutions.
    vector: channels of a global feature, or 0 for none: the last level is
      averaged over `pool` x `pool` pixels, flattened, and goes through a dense
      layer, so the image size is fixed by it.
    pool: see `vector`.
    negative_slope: of the ReLU; the authors' is 0.01.
    dtype: of the computation; None follows the data.
  """

  levels: Sequence[Sequence[tuple[int, int]]]
  vector: int = 0
  pool: int = 4
  negative_slope: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, cond):
    """[B, H, W, C] to {"level_0": [B, h, w, c], ..., "vector": [B, c]}."""
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
  """One coupling's own view of shared features (ImageNet cINN).

  `level` strided 3x3 convolutions bring the features to the coupling's
  resolution; a last one makes `channels` maps, which are normalised.
  Attributes: `width` as in `ColorfulNet`, `norm` as in `Norm`, `init_std` as in
  `Subnet`.
  """

  level: int
  channels: int
  norm: str = "group"
  init_std: float | None = None
  width: int = 64
  dtype: Any = None

  @nn.compact
  def __call__(self, features):
    hidden = features
    for times in (2, 2, 4)[: self.level]:
      width = times * self.width
      hidden = _conv(width, 2, self.init_std, self.dtype)(hidden)
      hidden = nn.leaky_relu(hidden, 0.01)
    hidden = _conv(self.channels, 1, self.init_std, self.dtype)(hidden)
    return Norm(self.norm, self.init_std)(hidden)


class GlobalHead(nn.Module):
  """Shared features [B, 64, 64, 256] to one vector [B, 512] (ImageNet cINN).

  Attributes: `norm` as in `Norm`, `width` as in `ColorfulNet`.
  """

  norm: str = "group"
  width: int = 64
  dtype: Any = None

  @nn.compact
  def __call__(self, features):
    hidden = features
    for k, times in enumerate((2, 4, 4, 8)):
      if k > 0:
        hidden = nn.leaky_relu(hidden, 0.01)
      hidden = _conv(times * self.width, 2, dtype=self.dtype)(hidden)
    vector = jnp.mean(hidden, axis=(1, 2))
    return Norm(self.norm)(vector)


class ColorfulNet(nn.Module):
  """The VGG-like network of Zhang et al. 2016, "Colorful Image Colorization".

  Lightness to features at a quarter of its resolution.

  Attributes:
    norm: as in `Norm`.
    width: channels of the first convolutions, 64 as published; all others
      follow.
  """

  norm: str = "group"
  width: int = 64
  dtype: Any = None

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
  def __call__(self, lightness):
    """Lightness [B, H, W, 1] about its middle to [B, H/4, W/4, 256]."""
    hidden = lightness
    for layers in self.GROUPS:
      for times, stride, dilation in layers:
        channels = times * self.width
        layer = _conv(channels, stride, dtype=self.dtype, dilation=dilation)
        hidden = nn.relu(layer(hidden))
      hidden = Norm(self.norm)(hidden)
    # Twice the resolution and a pixel more on each side, which is cut at last.
    channels = 4 * self.width
    hidden = nn.ConvTranspose(
      channels, (4, 4), (2, 2), padding="VALID", dtype=self.dtype
    )(hidden)
    hidden = _conv(channels, 1, dtype=self.dtype)(nn.relu(hidden))
    hidden = _conv(channels, 1, dtype=self.dtype)(nn.relu(hidden))
    return hidden[:, 1:-1, 1:-1]


class ColorClassifier(nn.Module):
  """`ColorfulNet`'s own prediction: features to an annealed mean of ab.

  A distribution over 313 bins of ab, sharpened, then the mean of the bins'
  centres. The flow does not use it: it is there to pretrain the features and to
  see what they know.
  """

  bins: int = 313
  sharpness: float = 2.606

  @nn.compact
  def __call__(self, features):
    """[B, h, w, 256] to ab [B, h, w, 2]."""
    logits = nn.Conv(self.bins, (1, 1))(nn.relu(features))
    return nn.Conv(2, (1, 1))(nn.softmax(self.sharpness * logits))


class ColorizationFeatures(nn.Module):
  """The ImageNet cINN's condition network: `ColorfulNet` and a global vector.

  Returns {"features": [B, H/4, W/4, 256], "vector": [B, 512]} from normalised
  lightness [B, H, W, 1]; the couplings' heads are theirs.

  Attributes:
    lightness_scale, lightness_shift: bring the task's lightness to L - 50,
      which the feature network was published with.
    norm: as in `Norm`.
    width: as in `ColorfulNet`.
  """

  lightness_scale: float
  lightness_shift: float
  norm: str = "group"
  width: int = 64
  dtype: Any = None

  def setup(self):
    self.feature_net = ColorfulNet(self.norm, self.width, self.dtype)
    self.global_head = GlobalHead(self.norm, self.width, self.dtype)
    self.classifier = ColorClassifier()

  def __call__(self, cond):
    features = self._features(cond)
    if self.is_initializing():
      self.classifier(features)
    return {"features": features, "vector": self.global_head(features)}

  def predict_ab(self, cond):
    """The feature network's own guess of ab [B, H/4, W/4, 2]."""
    return self.classifier(self._features(cond))

  def _features(self, cond):
    centred = cond * self.lightness_scale + self.lightness_shift
    return self.feature_net(centred)


def _conv(channels, stride=1, init_std=None, dtype=None, dilation=1):
  """A 3x3 convolution that keeps the size, or divides it by `stride`."""
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
