"""Measures how compile time grows with the depth of a flow.

  launch/local.sh python tests/benchmarks/compile_time.py [--json=FILE]

Compiles two kinds of training steps with an empty cache: those of 8 to 64 equal
couplings (`deep_flow`), and that of the ImageNet colorization network with its
loss, optimizer and average (`configs/colorize.py:imagenet`, 88,949,693
parameters). It allocates no arrays.

Goal: 64 couplings take at most 1.3 times as long as 8, in processor time. That
is the time of all threads; other work on the machine hardly changes it.
"""

import argparse
import pathlib
import statistics
import sys

import deep_flow
import jax
import jax.numpy as jnp
import machine
from stopwatch import Stopwatch

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.bijections import MEMORY_POLICIES
from cinn_jax.experiment.build import build
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import init_state
from configs import colorize


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--depths", type=int, nargs="+", default=[8, 16, 32, 64])
  parser.add_argument("--memory", default="store", choices=MEMORY_POLICIES)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--skip_imagenet", action="store_true")
  flags = parser.parse_args()
  results = {"memory": flags.memory, **by_depth(flags)}
  if not flags.skip_imagenet:
    results["imagenet"] = imagenet(flags.memory)
  device = jax.devices()[0].device_kind
  machine.finish(
    results, machine.facts("jax", "flax", device=device), flags.json
  )


def by_depth(flags) -> dict:
  """Times tracing, lowering and compiling; the depths take turns."""
  depths, sizes = flags.depths, {}
  taken = {n: [] for n in depths}
  for _ in range(flags.rounds):
    for depth in depths:
      jax.clear_caches()
      watch = Stopwatch()
      flow = deep_flow.deep_flow(depth, flags.memory)
      lowered = deep_flow.lowered_step(flow)
      lowered.compile()
      taken[depth].append(watch.seconds())
      sizes[depth] = len(lowered.as_text())
  seconds, processor = (
    [statistics.median(pair[k] for pair in taken[n]) for n in depths]
    for k in (0, 1)
  )
  ratios = [each / processor[0] for each in processor]
  rows = [
    (n, f"{wall:.1f}", f"{own:.2f}", f"{ratio:.2f}", f"{sizes[n]:,}")
    for n, wall, own, ratio in zip(
      depths, seconds, processor, ratios, strict=True
    )
  ]
  print(f"A training step, memory policy {flags.memory}")
  columns = ["couplings", "seconds", "processor", "ratio", "characters"]
  print(machine.table(columns, rows))
  return {
    "depths": depths,
    "seconds": seconds,
    "processor_seconds": processor,
    "module_characters": [sizes[n] for n in depths],
    f"growth_{depths[0]}_to_{depths[-1]}": ratios[-1],
  }


def imagenet(memory) -> dict:
  """Times the whole step of the published ImageNet network."""
  config = colorize.get_config("imagenet")
  config.model.memory = memory
  flow, task = build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **config.optimizer.to_dict()
  )
  size = (config.train.batch_size, task.image_size, task.image_size, 3)
  batch = {"image": jax.ShapeDtypeStruct(size, jnp.uint8)}
  state = jax.eval_shape(
    lambda: init_state(
      rng=jax.random.key(0),
      flow=flow,
      task=task,
      optimizer=optimizer,
      averaged=bool(config.train.ema_decay),
    )
  )
  step = make_train_step(
    flow, task, optimizer, seed=0, ema_decay=config.train.ema_decay
  )
  jax.clear_caches()
  lowering = Stopwatch()
  lowered = jax.jit(step, donate_argnums=0).lower(state, batch)
  lower_wall, lower_processor = lowering.seconds()
  compiling = Stopwatch()
  compiled = lowered.compile()
  wall, processor = compiling.seconds()
  results = {
    "lower_seconds": lower_wall,
    "lower_processor_seconds": lower_processor,
    "compile_seconds": wall,
    "compile_processor_seconds": processor,
    "module_characters": len(lowered.as_text()),
    "temporary_bytes": deep_flow.temporary_bytes(compiled),
  }
  print(
    f"\nImageNet network, {config.train.batch_size} pictures: lowered in"
    f" {lower_wall:.1f} s (processor: {lower_processor:.1f} s), compiled in"
    f" {wall:.1f} s (processor: {processor:.1f} s);"
    f" {results['temporary_bytes'] / 1e9:.2f} GB of temporary memory"
  )
  return results


if __name__ == "__main__":
  main()
