"""Keys and shapes in the official files of the colorization cINNs.

The numbers of the nodes are written out as in the published code's graphs.
"""

import numpy as np

# Published sizes: (nodes of the couplings, data channels, hidden channels,
# condition channels, kernels). A kernel of 0 is a dense layer.
LSUN = (
  ((1, 2), 2, 32, 64, (3,)),
  ((4, 6, 8, 10), 8, 64, 128, (1, 3)),
  ((14, 16, 18, 20), 8, 128, 128, (1, 3)),
  ((24, 26, 28, 30), 1024, 512, 512, (0,)),
)
LSUN_LEVELS = (((64, 1), (64, 1)), ((128, 1), (128, 2)), ((128, 2),))


def lsun(stages=LSUN, levels=LSUN_LEVELS, vector=512, pooled=4):
  """Returns the shape of each key of the state dict."""
  result, condition = {}, 1
  for nodes, channels, hidden, cond, kernels in stages:
    for i, node in enumerate(nodes):
      kernel = kernels[i % len(kernels)]
      key = f"cinn.module_list.{node}"
      result |= _coupling(key, ("0", "2"), channels, (hidden,), cond, kernel)
  for node in (3, 13):
    result[f"cinn.module_list.{node}.haar_weights"] = (8, 1, 2, 2)
  names_by_level = (("0.0", "0.2"), ("1.1", "1.3"), ("2.1",))
  for names, layers in zip(names_by_level, levels, strict=True):
    for name, (channels, _) in zip(names, layers, strict=True):
      key = f"cond_net.resolution_levels.{name}"
      result |= _layer(key, condition, channels, 3)
      condition = channels
  key = "cond_net.resolution_levels.3.3"
  return result | _layer(key, condition * pooled**2, vector, 0)


# (level, nodes of the couplings, data channels).
STAGES = (
  (0, range(1, 9, 2), 2),
  (1, range(14, 26, 2), 8),
  (2, range(34, 46, 2), 16),
  (3, range(54, 66, 2), 32),
)
# (nodes of the couplings, nodes of the matrices, data channels,
# hidden / width).
DOWN = (
  ((11, 13), (10, 12), 8, 1),
  ((28, 32), (27, 29), 32, 2),
  ((48, 52), (47, 49), 64, 4),
  ((68, 72), (67, 69), 128, 4),
)
# (channels / width, number of convolutions) of the feature network's groups.
GROUPS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3), (8, 3), (8, 3))
CONVOLUTIONS = ("conv1", "conv2", "conv3")


def imagenet(width=64):
  """Returns the shape of each key of the state dict."""
  flow, features = "module.inn.module_list", "module.feature_network"
  result = {f"{flow}.66.haar_weights": (128, 1, 2, 2)}
  for level, nodes, channels in STAGES:
    hidden = width // 2 * 2**level
    for node in nodes:
      key = f"{flow}.{node}"
      widths = (hidden, hidden)
      result |= _coupling(key, CONVOLUTIONS, channels, widths, hidden, 3)
      result |= _head(f"{key}.subnet", level, hidden, width)
      result |= _matrix(f"{flow}.{node + 1}", channels)
  for couplings, matrices, channels, times in DOWN:
    for node in couplings:
      widths = (times * width,) * 2
      key = f"{flow}.{node}"
      result |= _coupling(key, CONVOLUTIONS, channels, widths, 0, 1)
    for node in matrices:
      result |= _matrix(f"{flow}.{node}", channels)
  for node in range(76, 92, 2):
    key, widths = f"{flow}.{node}", (8 * width,) * 3
    names = ("fc1", "fc2", "fc2b", "fc3")
    result |= _coupling(key, names, 512, widths, 8 * width, 0)
  return result | _features(features, width) | _global(width)


def _coupling(key, names, channels, widths, cond, kernel):
  first, result = channels // 2, {}
  for net, passive in (("s1", first), ("s2", channels - first)):
    sizes = [passive + cond, *widths, 2 * (channels - passive)]
    for k, name in enumerate(names):
      result |= _layer(f"{key}.{net}.{name}", sizes[k], sizes[k + 1], kernel)
  return result


def _head(key, level, channels, width):
  sizes = [4 * width, 2 * width, 2 * width, 4 * width][: level + 1] + [channels]
  result = _norm(f"{key}.{2 * level + 1}", channels)
  for k in range(level + 1):
    result |= _layer(f"{key}.{2 * k}", sizes[k], sizes[k + 1], 3)
  return result


def _features(key, width):
  result, before = {}, 1
  for k, (times, count) in enumerate(GROUPS, start=1):
    for i in range(1, count + 1):
      prefix = "bw_" if before == 1 else ""
      name = f"{key}.{prefix}conv{k}_{i}"
      result |= _layer(name, before, times * width, 3)
      before = times * width
    result |= _norm(f"{key}.conv{k}_{count}norm", before)
  result[f"{key}.conv8_1.weight"] = (8 * width, 4 * width, 4, 4)
  result[f"{key}.conv8_1.bias"] = (4 * width,)
  for name in ("conv8_2", "conv8_3"):
    result |= _layer(f"{key}.{name}", 4 * width, 4 * width, 3)
  result |= _layer(f"{key}.conv8_313", 4 * width, 313, 1)
  return result | _layer(f"{key}.class8_ab", 313, 2, 1)


def _global(width):
  key, sizes = "module.fc_cond_network", (4, 2, 4, 4, 8)
  result = _norm(f"{key}.8", 8 * width)
  for k in range(4):
    inputs, outputs = width * sizes[k], width * sizes[k + 1]
    result |= _layer(f"{key}.{2 * k}", inputs, outputs, 3)
  return result


def _layer(key, inputs, outputs, kernel):
  window = (kernel, kernel) if kernel else ()
  return {
    f"{key}.weight": (outputs, inputs, *window),
    f"{key}.bias": (outputs,),
  }


def _norm(key, channels):
  names = ("weight", "bias", "running_mean", "running_var")
  counter = {f"{key}.num_batches_tracked": ()}
  return {f"{key}.{name}": (channels,) for name in names} | counter


def _matrix(key, channels):
  square = (channels, channels, 1, 1)
  return {f"{key}.M": square, f"{key}.M_inv": square, f"{key}.logDetM": ()}


def blank(shapes):
  """Returns zeros that cost no memory; orthogonal matrices are identities."""
  tensors = {
    key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()
  }
  for key, shape in shapes.items():
    if key.endswith((".M", ".M_inv")):
      tensors[key] = np.eye(shape[0], dtype=np.float32)[..., None, None]
  return tensors


def is_trained(key):
  """Returns whether the authors trained the parameter with this key."""
  fixed = ("M", "M_inv", "logDetM", "haar_weights", "num_batches_tracked")
  name = key.rpartition(".")[2]
  return name not in fixed and not name.startswith("running_")
