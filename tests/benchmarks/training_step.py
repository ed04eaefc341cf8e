"""The training step of a config, compiled for one batch of random pictures."""

import functools
import math
import time

import jax
import numpy as np

from cinn_jax.experiment.build import build
from cinn_jax.runtime import sharding
from cinn_jax.runtime.flops import jaxpr_flops
from cinn_jax.training import setup
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.workdir.state import init_state


class TrainingStep:
  """A compiled training step; a call with a count returns seconds per step."""

  def __init__(self, config):
    mesh = sharding.make_mesh()
    flow, self.task = build(config)
    optimizer = make_optimizer(
      num_steps=config.train.num_steps, **config.optimizer.to_dict()
    )
    parts = {"flow": flow, "task": self.task, "optimizer": optimizer}
    abstract = setup.abstract_state(config, mesh, **parts)
    self.pictures = random_pictures(config, self.task.image_size)
    self._batch = sharding.put_batch(self.pictures, mesh)
    init = functools.partial(
      init_state,
      jax.random.key(config.train.seed),
      averaged=bool(config.train.ema_decay),
      **parts,
    )
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    self._state = jax.jit(init, out_shardings=places)(batch=self._batch)
    begin = time.perf_counter()
    step = setup.jit_train_step(config, mesh, abstract=abstract, **parts)
    traced = step.trace(self._state, self._batch)
    self._step = traced.lower().compile()
    self.compile_seconds = time.perf_counter() - begin
    memory = self._step.memory_analysis()
    self.temporary_bytes = memory.temp_size_in_bytes
    self.flops = jaxpr_flops(traced.jaxpr.jaxpr)
    params = jax.tree.leaves(self._state.fit.params)
    self.parameters = sum(leaf.size for leaf in params)
    self.device = jax.devices()[0].device_kind

  def __call__(self, steps):
    self._take(1)  # Warms the caches, which the other side has used until now.
    begin, worked = time.perf_counter(), time.process_time()
    bits = self._take(steps)["bits_per_dim"]
    times = {
      "seconds": (time.perf_counter() - begin) / steps,
      "processor": (time.process_time() - worked) / steps,
    }
    if not math.isfinite(bits):
      raise ValueError(f"Our bits/dim are {bits}.")
    return times

  def _take(self, steps):
    for _ in range(steps):
      self._state, metrics = self._step(self._state, self._batch)
    jax.block_until_ready(self._state)
    return metrics


def random_pictures(config, size):
  random, count = np.random.default_rng(0), config.train.batch_size
  image = random.integers(0, 256, (count, size, size, 3), np.uint8)
  if config.task.name != "class_conditional":
    return {"image": image}
  return {"image": image, "label": random.integers(0, 10, count, np.int32)}
