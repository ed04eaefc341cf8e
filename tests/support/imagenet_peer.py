"""The ImageNet colorization cINN from FrEIA's blocks; see `official_peers`."""

import FrEIA.modules as freia
import torch
from torch import nn
from torch.nn import functional

from tests.support.official_colorization import CONVOLUTIONS, GROUPS
from tests.support.official_peers import Peer, coupling, layer, random_matrix


def flow(width):
  """Returns the flow for ab [B, 2, 64, 64]."""
  peer, channels, size = Peer(), 2, 64
  for level, depth in enumerate((4, 6, 6, 6)):
    hidden = width // 2 * 2**level
    _stage(peer, (channels, size, size), level, depth, hidden, width)
    before = (channels, size, size)
    channels, size = 4 * channels, size // 2
    shape = (channels, size, size)
    if level < 3:
      peer.add(freia.IRevNetDownsampling([before], legacy_backend=True))
    else:
      peer.add(
        freia.HaarDownsampling([before], order_by_wavelet=True, rebalance=0.5)
      )
    _down(peer, shape, min(2**level, 4) * width)
    if level > 0:
      keep = (16, 32, 32)[level - 1]
      peer.cut(keep)
      # The split's flatten and output come before the last coupling.
      peer.nodes[-2:-2] = [None, None]
      channels = keep
  peer.add(freia.Flatten([(channels, size, size)]))
  for seed in range(8):
    peer.add(freia.PermuteRandom([(512,)], seed=seed))
    module = coupling(
      shape=(512,),
      cond_shape=(8 * width,),
      alpha=1.5,
      names=("fc1", "fc2", "fc2b", "fc3"),
      widths=(8 * width,) * 3,
      kernel=0,
      slope=0.0,
    )
    peer.add(module, "vector")
  return peer


def _stage(peer, shape, level, depth, hidden, width):
  for _ in range(depth):
    module = coupling(
      shape,
      cond_shape=(hidden, *shape[1:]),
      alpha=1.5,
      names=CONVOLUTIONS,
      widths=(hidden, hidden),
      kernel=3,
      slope=0.05,
    )
    peer.add(module, "features", _head(level, hidden, width))
    matrix = random_matrix(shape[0], len(peer.nodes))
    peer.add(freia.Fixed1x1Conv([shape], M=matrix))


def _down(peer, shape, hidden):
  for _ in range(2):
    matrix = random_matrix(shape[0], len(peer.nodes))
    peer.add(freia.Fixed1x1Conv([shape], M=matrix))
    module = coupling(
      shape,
      cond_shape=None,
      alpha=1.5,
      names=CONVOLUTIONS,
      widths=(hidden, hidden),
      kernel=1,
      slope=0.01,
    )
    peer.add(module)


def _head(level, channels, width):
  sizes, parts = [4 * width, 2 * width, 2 * width, 4 * width], []
  for k in range(level):
    parts += [layer(sizes[k], sizes[k + 1], 3, stride=2), nn.LeakyReLU()]
  parts += [layer(sizes[level], channels, 3), nn.BatchNorm2d(channels)]
  return nn.Sequential(*parts)


def global_head(width):
  """Returns the network of the condition's vector."""
  sizes, parts = [width * times for times in (4, 2, 4, 4, 8)], []
  for k in range(4):
    parts += [layer(sizes[k], sizes[k + 1], 3, stride=2), nn.LeakyReLU()]
  parts[-1] = nn.AvgPool2d(4)
  return nn.Sequential(*parts, nn.BatchNorm2d(8 * width))


class FeatureNet(nn.Module):
  """The network of Zhang et al. with the names of the published file."""

  def __init__(self, width):
    super().__init__()
    before = 1
    for k, (times, count) in enumerate(GROUPS, start=1):
      dilation = 2 if k in (5, 6) else 1
      for i in range(1, count + 1):
        stride = 2 if k <= 3 and i == count else 1
        name = f"conv{k}_{i}" if before > 1 else "bw_conv1_1"
        conv = nn.Conv2d(
          before,
          times * width,
          kernel_size=3,
          stride=stride,
          padding=dilation,
          dilation=dilation,
        )
        self.add_module(name, conv)
        before = times * width
      self.add_module(f"conv{k}_{count}norm", nn.BatchNorm2d(before))
    self.conv8_1 = nn.ConvTranspose2d(before, 4 * width, 4, 2)
    self.conv8_2 = layer(4 * width, 4 * width, 3)
    self.conv8_3 = layer(4 * width, 4 * width, 3)
    self.conv8_313 = layer(4 * width, 313, 1)
    self.class8_ab = layer(313, 2, 1)

  @torch.no_grad()
  def forward(self, lightness):
    """Returns the features of L - 50, without one pixel on each side."""
    hidden = lightness
    for name, module in self.named_children():
      if name == "conv8_313":
        return hidden[:, :, 1:-1, 1:-1]
      if name in ("conv8_2", "conv8_3"):
        hidden = functional.relu(hidden)
      hidden = module(hidden)
      if name.startswith(("bw", "conv")) and not name.startswith("conv8"):
        is_norm = name.endswith("norm")
        hidden = hidden if is_norm else functional.relu(hidden)
    raise AssertionError("The network has no features.")

  @torch.no_grad()
  def predict_ab(self, features):
    logits = self.conv8_313(functional.relu(features))
    return self.class8_ab(functional.softmax(2.606 * logits, 1))


@torch.no_grad()
def randomize_norms(module):
  """Randomizes the statistics, scales and shifts of all batch norms."""
  for norm in module.modules():
    if isinstance(norm, nn.BatchNorm2d):
      norm.running_mean.normal_(0.0, 0.3)
      norm.running_var.uniform_(0.5, 2.0)
      norm.weight.normal_(0.0, 1.0)
      norm.bias.normal_(0.0, 0.3)
