"""Compares the training of the minimal MNIST cINN in FrEIA and here.

  CINN_JAX_EXTRAS=+freia launch/local.sh \\
    python tests/benchmarks/mnist_freia.py --data=FOLDER [--json=F] [--png=F]

Trains the same network (24,341,120 parameters) in both, for each seed, on the
same batches of MNIST and with the same recipe. Reports the loss that the
authors' code prints, mean(z^2)/2 - mean(log_det)/784, without noise, on the
first 1,024 training pictures, which are held out. Each library draws its own
initial parameters, permutations and noise, so the curves can agree only within
their spread over seeds. FOLDER has MNIST's four idx files.

It needs the extra `freia`, and matplotlib for --png. If other work runs on the
machine, pass --threads=1: PyTorch's threads spin while they wait for each
other.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from freia_trainer import DenseCinn, Trainer

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.data import loader
from cinn_jax.experiment.build import build, open_source
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import init_state
from configs import mnist

PARAMETERS = 24_341_120
DIMS = 784


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", required=True, help="the four idx files")
  parser.add_argument("--steps", type=int, default=2_000)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--every", type=int, help="steps between validations")
  parser.add_argument("--threads", type=int, help="threads of PyTorch")
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--png", help="also draw the curves into this file")
  flags = parser.parse_args()
  if flags.threads:
    torch.set_num_threads(flags.threads)
  every = flags.every or max(flags.steps // 20, 1)
  config = mnist.get_config("minimal")
  config.data.path = flags.data
  sides = {"FrEIA": Freia, "cinn_jax": Ours}
  results = {
    "steps": [*range(0, flags.steps, every), flags.steps],
    "seconds_per_step": {name: [] for name in sides},
    "curves": {name: [] for name in sides},
    "machine": machine(),
  }
  for seed in range(flags.seeds):
    for name, make in sides.items():
      model = make(config, seed)
      losses, seconds = run(model, config, seed, flags.steps, every)
      results["curves"][name].append(losses)
      results["seconds_per_step"][name].append(seconds)
    # Results are saved after every pair, since training takes hours.
    if flags.json:
      with open(flags.json, "w") as file:
        json.dump(results, file, indent=2)
    if flags.png:
      plot(results, flags.png)
  report(results)


def run(model, config, seed, steps, every):
  """Trains; returns the validation losses and the median seconds per step."""
  _, task = build(config)
  prepare = jax.jit(task.prepare)
  validation = held_out(config, task, prepare)
  source = open_source(config, task, "train")
  batches = loader.training_batches(
    source,
    image_size=task.image_size,
    batch_size=config.train.batch_size,
    seed=seed,
    **config.augment,
  )
  losses, seconds = [model.validate(*validation)], []
  with contextlib.closing(batches):
    for step in range(1, steps + 1):
      batch = next(batches)
      begin = time.perf_counter()
      model.step(batch, prepare)
      seconds.append(time.perf_counter() - begin)
      if step % every == 0 or step == steps:
        losses.append(model.validate(*validation))
        name = type(model).__name__
        print(f"{name} {seed} {step:5} {losses[-1]:.4f}", flush=True)
  return losses, float(np.median(seconds))


def held_out(config, task, prepare):
  """Returns (x [1024, 28, 28, 1] without noise, one-hot labels)."""
  source = open_source(config, task, "validation")
  [batch] = loader.evaluation_batches(
    source, image_size=28, batch_size=len(source)
  )
  return prepare(batch)


class Ours:
  """Our network, trained as `cinn_jax.main` trains it."""

  def __init__(self, config, seed):
    self._flow, task = build(config)
    optimizer = make_optimizer(
      num_steps=config.train.num_steps, **config.optimizer.to_dict()
    )
    rng = jax.random.key(seed)
    averaged = bool(config.train.ema_decay)
    self._state = jax.jit(
      lambda: init_state(rng, self._flow, task, optimizer, averaged=averaged)
    )()
    assert count(self._state.fit.params) == PARAMETERS
    step = make_train_step(
      self._flow, task, optimizer, seed=seed, ema_decay=config.train.ema_decay
    )
    self._step = jax.jit(step, donate_argnums=0, keep_unused=True)
    self._log_prob = jax.jit(self._flow.log_prob)

  def step(self, batch, prepare):
    del prepare  # The step prepares its batch itself.
    self._state, metrics = self._step(self._state, batch)
    jax.block_until_ready(metrics)

  def validate(self, x, cond):
    parts = self._log_prob(self._state.ema_variables, x, cond)
    constant = 0.5 * np.log(2 * np.pi)
    return float(-jnp.mean(parts.total) / DIMS - constant)


class Freia:
  """The same network in FrEIA, trained with PyTorch's optimizer."""

  def __init__(self, config, seed):
    torch.manual_seed(seed)
    network = DenseCinn(config.model.to_dict())
    self._trainer = Trainer(network, config.optimizer.to_dict())
    assert self._trainer.parameters == PARAMETERS
    self._noise = config.task.noise_scale

  def step(self, batch, prepare):
    x, cond = as_torch(*prepare(batch))
    self._trainer.step(x + self._noise * torch.randn_like(x), cond)

  def validate(self, x, cond):
    with torch.no_grad():
      return self._trainer.loss(*as_torch(x, cond)).item()


def as_torch(x, cond):
  flat = np.array(x).reshape(len(x), -1)
  return torch.from_numpy(flat), torch.from_numpy(np.array(cond))


def count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def report(results):
  for name, value in results["machine"].items():
    print(f"{name:10}{value}")
  names = list(results["curves"])
  print("| step | " + " | ".join(f"{n}, mean ± std" for n in names) + " |")
  print("| ---: |" + " ---: |" * len(names))
  for k, step in enumerate(results["steps"]):
    at = [np.array(results["curves"][n])[:, k] for n in names]
    cells = [f"{losses.mean():.4f} ± {losses.std():.4f}" for losses in at]
    print(f"| {step:,} | " + " | ".join(cells) + " |")
  for name, seconds in results["seconds_per_step"].items():
    print(f"{name}: {np.median(seconds):.3f} s per step (median)")


def plot(results, path):
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
  for name, curves in results["curves"].items():
    curves = np.array(curves)
    [line] = axes.plot(results["steps"], curves.mean(axis=0), label=name)
    low, high = curves.min(axis=0), curves.max(axis=0)
    axes.fill_between(
      results["steps"], low, high, color=line.get_color(), alpha=0.25
    )
  # The first losses are far above the others.
  later = np.array(list(results["curves"].values()))[:, :, 1:]
  margin = 0.05 * max(np.ptp(later), 1e-3)
  axes.set_ylim(later.min() - margin, later.max() + margin)
  axes.set_xlabel("step")
  axes.set_ylabel("validation nats/dim, without the constant")
  axes.set_title(f"MNIST, mean and range of {len(curves)} seeds")
  axes.legend()
  figure.savefig(path, dpi=120)


def machine():
  return {
    "device": jax.devices()[0].device_kind,
    "cores": os.cpu_count(),
    "jax": jax.__version__,
    "torch": torch.__version__,
  }


if __name__ == "__main__":
  main()
