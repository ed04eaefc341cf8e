"""Small configs and random state dicts in the layout of the MNIST files."""

import numpy as np

from configs import mnist

# The prefix of the modules and a subnet's layers, by config variant.
LAYERS = {
  "minimal": ("cinn.module_list", ("0", "2")),
  "paper": ("module_list", ("fc1", "fc2", "fc2b", "fc3")),
}


def config(variant, size=5, depth=3, width=6):
  """Returns a variant of configs/mnist.py, but smaller."""
  shrunk = mnist.get_config(variant)
  hidden = (width,) * len(shrunk.model.hidden)
  shrunk.model.update({"size": size, "depth": depth, "hidden": hidden})
  shrunk.task.update({"image_size": size})
  return shrunk


def shapes(variant, pixels, depth, width):
  """Returns the shape of each key of the state dict."""
  modules, layers = LAYERS[variant]
  first = pixels // 2
  result = {}
  for node in range(3, 3 + 2 * depth, 2):
    for net, passive in (("s1", first), ("s2", pixels - first)):
      sizes = [passive + 10] + [width] * (len(layers) - 1)
      sizes.append(2 * (pixels - passive))
      for k, layer in enumerate(layers):
        key = f"{modules}.{node}.{net}.{layer}"
        result[f"{key}.weight"] = (sizes[k + 1], sizes[k])
        result[f"{key}.bias"] = (sizes[k + 1],)
  return result


def tensors(variant, pixels=25, depth=3, width=6):
  """Returns a state dict of random values."""
  random = np.random.default_rng(0)
  return {
    key: random.normal(size=shape).astype(np.float32)
    for key, shape in shapes(variant, pixels, depth, width).items()
  }
