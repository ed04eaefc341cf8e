"""Trains published cINNs with FrEIA and PyTorch; imports no JAX.

As a script, it is the peer of `train_step.py`: the first request has the
settings, and each later one a number of steps. Needs the extra `freia`.
"""

import functools
import math
import os
import time
import types

import FrEIA.framework
import FrEIA.modules
import machine
import numpy as np
import torch
from side_by_side import serve


class Trainer:
  """Trains a network by maximum likelihood with Adam.

  Args:
    network: `network(x, cond) -> (latents, log_det [B])`. The loss is the
      authors': mean(z^2) / 2 - mean(log_det) / D.
    optimizer: A config's section `optimizer`.

  Attributes:
    parameters: Number of trained parameters.
  """

  def __init__(self, network, optimizer):
    self._network = network
    self._trained = [p for p in network.parameters() if p.requires_grad]
    self.parameters = sum(p.numel() for p in self._trained)
    self._clip = optimizer.get("clip_norm", 0.0)
    self._optimizer = torch.optim.Adam(
      self._trained,
      lr=optimizer["learning_rate"],
      weight_decay=optimizer.get("weight_decay", 0.0),
    )
    self._schedule = _schedule(self._optimizer, optimizer)

  def step(self, x, cond):
    self._optimizer.zero_grad()
    loss = self.loss(x, cond)
    loss.backward()
    if self._clip:
      torch.nn.utils.clip_grad_norm_(self._trained, self._clip)
    self._optimizer.step()
    self._schedule.step()
    return loss

  def loss(self, x, cond):
    latents, log_det = self._network(x, cond)
    squares = sum(torch.sum(z**2) for z in latents)
    return squares / (2 * x.numel()) - torch.mean(log_det) / x[0].numel()


def _schedule(optimizer, settings):
  options, schedules = settings["schedule_options"], torch.optim.lr_scheduler
  if settings["schedule"] == "multistep":
    boundaries = list(options["boundaries"])
    return schedules.MultiStepLR(optimizer, boundaries, options["factor"])
  if settings["schedule"] == "step":
    return schedules.StepLR(optimizer, options["every"], options["factor"])
  raise ValueError(f"The peer has no schedule {settings['schedule']!r}.")


class DenseCinn(torch.nn.Module):
  """The minimal MNIST cINN: flat pixels given a one-hot label."""

  def __init__(self, model):
    super().__init__()
    [hidden] = model["hidden"]
    dims = model["size"] ** 2
    self._net = FrEIA.framework.SequenceINN(dims)
    for block in range(model["depth"]):
      self._net.append(FrEIA.modules.PermuteRandom, seed=block)
      self._net.append(
        FrEIA.modules.GLOWCouplingBlock,
        cond=0,
        cond_shape=(10,),
        subnet_constructor=functools.partial(_dense, hidden),
        clamp=model["alpha"],
      )
    _initialize(self, model["init_std"])

  def forward(self, x, cond):
    z, log_det = self._net(x.flatten(1), c=[cond])
    return [z], log_det


def _dense(hidden, inputs, outputs):
  return torch.nn.Sequential(
    torch.nn.Linear(inputs, hidden),
    torch.nn.ReLU(),
    torch.nn.Linear(hidden, outputs),
  )


class HaarColorization(torch.nn.Module):
  """The LSUN colorization cINN: ab [B, 2, 64, 64] given L."""

  def __init__(self, model):
    from tests.support import official_colorization, official_peers

    super().__init__()
    model = types.SimpleNamespace(**model)
    self._flow, self._condition = official_peers.lsun(
      model, official_colorization.LSUN, official_colorization.LSUN_LEVELS
    )
    modules = [module for module, _ in filter(None, self._flow.nodes)]
    self._modules_of_flow = torch.nn.ModuleList(filter(None, modules))
    _initialize(self._modules_of_flow, model.init_std)

  def forward(self, x, cond):
    return self._flow.forward(x, self._condition(cond))


@torch.no_grad()
def _initialize(module, std):
  for parameter in module.parameters():
    if parameter.requires_grad:
      parameter.normal_(0, std)


NETWORKS = {"dense_cinn": DenseCinn, "haar_colorization": HaarColorization}


class _Noise:
  """Adds the noise of the task to a batch, as every step does."""

  def __init__(self, task):
    self._scale = task["noise_scale"]
    self._is_uniform = task.get("noise") == "uniform"

  def __call__(self, x, cond):
    if self._is_uniform:
      cond = cond + self._scale * torch.rand_like(cond)
      return x + self._scale * torch.rand_like(x), cond
    return x + self._scale * torch.randn_like(x), cond


def main():
  step = None

  def answer(settings=None, steps=0):
    nonlocal step
    if settings is None:
      return _time(step, steps)
    step, parameters = _set_up(**settings)
    return {"parameters": parameters}

  threads = {
    "threads": torch.get_num_threads(),
    "wait_policy": os.environ.get("OMP_WAIT_POLICY", "not set"),
  }
  serve(machine.facts("torch", "FrEIA", **threads), answer)


def _set_up(model, task, optimizer, batch, accelerator, compiled):
  """Returns a training step `step() -> loss`, and the number of parameters."""
  device = "cuda" if accelerator else "cpu"
  torch.manual_seed(0)
  network = NETWORKS[model["name"]](model).to(device)
  if compiled:
    network = torch.compile(network)
  trainer, noise = Trainer(network, optimizer), _Noise(task)
  with np.load(batch) as arrays:
    x, cond = (torch.tensor(arrays[k], device=device) for k in ("x", "cond"))
  return lambda: trainer.step(*noise(x, cond)), trainer.parameters


def _time(step, number):
  step()  # Warms the caches, which the other side has used until now.
  begin, worked = time.perf_counter(), time.process_time()
  for _ in range(number):
    loss = step()
  loss = loss.item()  # Waits for the accelerator.
  times = {
    "seconds": (time.perf_counter() - begin) / number,
    "processor": (time.process_time() - worked) / number,
  }
  if not math.isfinite(loss):
    raise ValueError(f"The peer's loss is {loss}.")
  return times


if __name__ == "__main__":
  main()
