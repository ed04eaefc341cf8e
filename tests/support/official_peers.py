"""The LSUN colorization cINN from FrEIA's blocks, and what such flows share.

A `Peer` numbers its modules like the nodes of the official graph, since these
numbers are in the state dict, and runs them in order. Needs the extra `freia`.
"""

import functools
from typing import Any, NamedTuple

import FrEIA.modules as freia
import numpy as np
import torch
from torch import nn


class Step(NamedTuple):
  """A module, the name of its condition, and a network for the condition."""

  module: Any
  cond: str | None = None
  head: nn.Module | None = None


class Cut(NamedTuple):
  """A split, after which the first `keep` channels go on."""

  keep: int


class Peer:
  """A flow that numbers its modules in the order of their addition."""

  def __init__(self):
    self.nodes, self.steps = [None], []  # The first node is the input.

  def add(self, module, cond=None, head=None):
    self.nodes.append((module, head))
    self.steps.append(Step(module, cond, head))

  def skip(self):
    """Adds a node without parameters."""
    self.nodes.append(None)

  def cut(self, keep):
    self.skip()
    self.steps.append(Cut(keep))

  def state(self, prefix):
    """Returns the state dict with FrEIA's names before February 2021."""
    tensors = {}
    for number, entry in enumerate(self.nodes):
      module, head = entry or (None, None)
      if module is None or isinstance(module, freia.PermuteRandom):
        continue
      for key, value in module.state_dict().items():
        key = key.replace("subnet1", "s1").replace("subnet2", "s2")
        tensors[f"{prefix}.{number}.{key}"] = value
      for key, value in (head.state_dict() if head else {}).items():
        tensors[f"{prefix}.{number}.subnet.{key}"] = value
    return tensors

  def forward(self, x, conds):
    latents, total = [], x.new_zeros(len(x))
    for step in self.steps:
      if isinstance(step, Cut):
        latents.append(x[:, step.keep :].flatten(1))
        x = x[:, : step.keep]
        continue
      x, total = _run(step, x, conds, total, rev=False)
    return [*latents, x], total

  def inverse(self, latents, conds):
    *latents, x = latents
    total = x.new_zeros(len(x))
    for step in reversed(self.steps):
      if isinstance(step, Cut):
        emitted = latents.pop()
        x = torch.cat([x, emitted.reshape(len(x), -1, *x.shape[2:])], 1)
        continue
      x, total = _run(step, x, conds, total, rev=True)
    return x, total


def _run(step, x, conds, total, rev):
  options = {}
  if step.cond is not None:
    cond = conds[step.cond]
    options = {"c": [cond if step.head is None else step.head(cond)]}
  (x,), log_det = step.module([x], rev=rev, **options)
  return x, total + log_det


def subnet(channels_in, channels_out, *, names, widths, kernel, slope):
  """Returns layers of the given names, with leaky ReLUs between them."""
  sizes, parts = [channels_in, *widths, channels_out], nn.Sequential()
  for k, name in enumerate(names):
    parts.add_module(name, layer(sizes[k], sizes[k + 1], kernel))
    if k < len(widths):
      parts.add_module(f"activation_{k}", nn.LeakyReLU(slope))
  return parts


def layer(inputs, outputs, kernel, stride=1):
  if kernel == 0:
    return nn.Linear(inputs, outputs)
  return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def coupling(shape, cond_shape, *, alpha, **net):
  """Returns FrEIA's coupling with the soft clamp of 2020.

  `net` has the keyword arguments of `subnet`.
  """
  return freia.GLOWCouplingBlock(
    [shape],
    [cond_shape] if cond_shape else [],
    subnet_constructor=functools.partial(subnet, **net),
    clamp=alpha,
    clamp_activation=lambda s: 0.636 * torch.atan(s / alpha),
    split_len=shape[0] // 2,
  )


def lsun(model, stages, levels):
  """Returns (flow, condition network).

  `stages` and `levels` are like LSUN and LSUN_LEVELS of
  `official_colorization`.
  """
  peer, size = Peer(), model.size
  for k, (nodes, channels, hidden, cond, kernels) in enumerate(stages):
    shape = (size, size) if k < 3 else ()
    name = f"level_{k}" if k < 3 else "vector"
    for i, _ in enumerate(nodes):
      module = coupling(
        shape=(channels, *shape),
        cond_shape=(cond, *shape),
        alpha=model.alphas[k],
        names=("0", "2"),
        widths=(hidden,),
        kernel=kernels[i % len(kernels)],
        slope=0.0,
      )
      peer.add(module, name)
      if k > 0:
        peer.add(freia.PermuteRandom([(channels, *shape)], seed=i))
    if k in (1, 2):
      peer.cut(8 - model.emits[k - 1])
    if k < 2:
      peer.add(freia.HaarDownsampling([(2, size, size)], rebalance=0.5))
      size //= 2
    if k == 2:
      peer.add(freia.Flatten([(8 - model.emits[1], size, size)]))
  return peer, LsunCondition(levels, model)


class LsunCondition(nn.Module):
  """The condition network of the LSUN cINN."""

  def __init__(self, levels, model):
    super().__init__()
    parts, before = [], 1
    for k, layers in enumerate(levels):
      level = []
      for i, (channels, stride) in enumerate(layers):
        level += [nn.LeakyReLU()] if k + i else []
        level.append(layer(before, channels, 3, stride))
        before = channels
      parts.append(nn.Sequential(*level))
    pool = model.condition_pool
    inputs = before * (model.size // 4 // pool) ** 2
    dense = nn.Linear(inputs, model.condition_vector)
    pooling = nn.AvgPool2d(pool)
    parts.append(nn.Sequential(nn.LeakyReLU(), pooling, nn.Flatten(), dense))
    self.resolution_levels = nn.ModuleList(parts)

  def forward(self, cond):
    outputs = [cond]
    for part in self.resolution_levels:
      outputs.append(part(outputs[-1]))
    names = ("level_0", "level_1", "level_2", "vector")
    return dict(zip(names, outputs[1:], strict=True))


def random_matrix(channels, seed):
  """Returns a random orthogonal matrix."""
  normal = np.random.default_rng(seed).normal(size=(channels, channels))
  return torch.tensor(np.linalg.qr(normal)[0], dtype=torch.float32)
