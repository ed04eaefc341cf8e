"""Random data sets in MNIST's format, for tests."""

import gzip

import numpy as np

from cinn_jax.data import mnist

COUNTS = {"train": 1040, "test": 12}


def idx(values) -> bytes:
  """Encodes uint8 values in the idx format of LeCun et al."""
  header = [2048 + values.ndim, *values.shape]
  return np.array(header, ">u4").tobytes() + values.tobytes()


def write(folder, *, size=6, packed=True, counts=None, classes=10):
  """Writes the four files, and returns {split: (images, labels)}."""
  random = np.random.default_rng(0)
  folder.mkdir(parents=True, exist_ok=True)
  content = {}
  for split, count in (counts or COUNTS).items():
    images = random.integers(0, 256, (count, size, size), np.uint8)
    labels = (np.arange(count) % classes).astype(np.uint8)
    content[split] = images, labels
    for name, values in zip(mnist.FILES[split], content[split], strict=True):
      put(folder, name, idx(values), packed=packed)
  return content


def put(folder, name, data, *, packed=True):
  """Writes one file, and removes the packed or unpacked one before it."""
  for path in (folder / name, folder / f"{name}.gz"):
    path.unlink(missing_ok=True)
  data = gzip.compress(data, 1) if packed else data
  (folder / (f"{name}.gz" if packed else name)).write_bytes(data)
