"""Runs the peer of `sampling.py`: the LSUN colorization cINN in FrEIA.

The condition network runs once per photo and its features are repeated for all
samples, which is the fastest way in FrEIA. Needs the extra `freia`.
"""

import os
import time
import types

import machine
import torch
from side_by_side import serve

from tests.support import official_peers
from tests.support.official_colorization import LSUN, LSUN_LEVELS

# The published settings that LSUN and LSUN_LEVELS do not have.
SIZES = {
  "size": 64,
  "alphas": (1.0, 1.0, 0.6, 0.6),
  "emits": (6, 4),
  "condition_vector": 512,
  "condition_pool": 4,
}


def main():
  torch.manual_seed(0)
  flow, condition_net = official_peers.lsun(
    types.SimpleNamespace(**SIZES), LSUN, LSUN_LEVELS
  )

  @torch.inference_mode()
  def answer(photos, samples):
    cond = torch.randn(photos, 1, 64, 64)
    begin, worked = time.perf_counter(), time.process_time()
    features = {
      name: torch.repeat_interleave(value, samples, 0)
      for name, value in condition_net(cond).items()
    }
    rows = photos * samples
    latents = [torch.randn(rows, dims) for dims in (6144, 1024, 1024)]
    x, log_det = flow.inverse(latents, features)
    assert x.shape == (rows, 2, 64, 64) and log_det.shape == (rows,)
    return {
      "seconds": time.perf_counter() - begin,
      "processor": time.process_time() - worked,
    }

  modules = [step.module for step in flow.steps if hasattr(step, "module")]
  parameters = {
    id(parameter): parameter.numel()
    for module in [*modules, condition_net]
    for parameter in module.parameters()
    if parameter.requires_grad
  }
  facts = {
    "threads": torch.get_num_threads(),
    "wait_policy": os.environ.get("OMP_WAIT_POLICY", "not set"),
    "parameters": sum(parameters.values()),
  }
  serve(machine.facts("torch", "FrEIA", **facts), answer)


if __name__ == "__main__":
  main()
