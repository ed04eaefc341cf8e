"""How long training steps take to compile as flows get deeper.

  launch/local.sh python tests/benchmarks/compile_time.py [--json=FILE]

Compiles, from an empty cache, the step of 8 to 64 equal couplings (`deep_flow`)
and that of the ImageNet colorization network, with its loss, optimizer and
average (`configs/colorize.py:imagenet`, 88,949,693 parameters). Nothing is
allocated. The growth with depth should stay below 1.3: it is of processor time,
over all threads, which other work on the machine hardly distorts.
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
  """To trace, lower and compile, by depth; depths take turns."""
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
  columns = (
    "couplings",
    "seconds",
    "processor",
    "by the first",
    "characters",
  )
  print(machine.table(columns, rows))
  return {
    "depths": depths,
    "seconds": seconds,
    "processor_seconds": processor,
    "module_characters": [sizes[n] for n in depths],
    f"growth_{depths[0]}_to_{depths[-1]}": ratios[-1],
  }


def imagenet(memory) -> dict:
  """Seconds of the published ImageNet network's whole step."""
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
      *(jax.random.key(0), flow, task, optimizer),
      averaged=bool(config.train.ema_decay),
    )
  )
  step = make_train_step(
    flow, task, optimizer, seed=0, ema_decay=config.train.ema_decay
  )
  jax.clear_caches()
  lowering = Stopwatch()
  lowered = jax.jit(step, donate_argnums=0).lower(state, batch)
  lower = lowering.seconds()
  compiling = Stopwatch()
  compiled = lowered.compile()
  compile_ = compiling.seconds()
  results = {
    "lower_seconds": lower[0],
    "lower_processor_seconds": lower[1],
    "compile_seconds": compile_[0],
    "compile_processor_seconds": compile_[1],
    "module_characters": len(lowered.as_text()),
    "temporary_bytes": deep_flow.temporary_bytes(compiled),
  }
  print(
    f"\nImageNet network, {config.train.batch_size} pictures: lowered in"
    f" {lower[0]:.1f} s ({lower[1]:.1f} of the processor), compiled in"
    f" {compile_[0]:.1f} s ({compile_[1]:.1f});"
    f" {results['temporary_bytes'] / 1e9:.2f} GB of temporary memory"
  )
  return results


if __name__ == "__main__":
  main()
