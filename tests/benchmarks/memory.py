"""Measures how a training step's memory grows with the depth of a flow.

  launch/local.sh python tests/benchmarks/memory.py [--json=FILE]

Compiles the step of 16 to 128 equal couplings (`deep_flow`) with each memory
policy of `bijections.Stack`, and asks the compiler for the temporary memory,
which holds activations and gradients. Then times a step of the shallowest flow;
the policies take turns.

Goal: with `reversible` the memory grows by less than 5 % from 16 to 128
couplings.
"""

import argparse
import statistics

import deep_flow
import jax
import machine
from stopwatch import Stopwatch

from cinn_jax.bijections import MEMORY_POLICIES
from cinn_jax.training.step import init_fit


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument(
    "--depths", type=int, nargs="+", default=[16, 32, 64, 128]
  )
  parser.add_argument("--rounds", type=int, default=5, help="timed steps")
  flags = parser.parse_args()
  compiled = {
    (memory, depth): deep_flow.lowered_step(
      deep_flow.deep_flow(depth, memory)
    ).compile()
    for memory in MEMORY_POLICIES
    for depth in flags.depths
  }
  results = sizes(compiled, flags.depths)
  shallow = {m: compiled[m, flags.depths[0]] for m in MEMORY_POLICIES}
  results |= times(shallow, flags.depths[0], flags.rounds)
  device = jax.devices()[0].device_kind
  machine.finish(
    results, machine.facts("jax", "flax", device=device), flags.json
  )


def sizes(compiled, depths) -> dict:
  """Returns bytes by policy and depth, and the growth over all depths."""
  temporary = {
    memory: [deep_flow.temporary_bytes(compiled[memory, n]) for n in depths]
    for memory in MEMORY_POLICIES
  }
  rows = [
    (n, *(f"{temporary[memory][k] / 1e6:,.1f}" for memory in MEMORY_POLICIES))
    for k, n in enumerate(depths)
  ]
  growth = {m: of[-1] / of[0] - 1 for m, of in temporary.items()}
  rows.append(("growth", *(f"{value:.1%}" for value in growth.values())))
  print("Temporary memory of a training step in MB, by number of couplings")
  print(machine.table(("couplings", *MEMORY_POLICIES), rows))
  ends = f"{depths[0]}_to_{depths[-1]}"
  return {
    "depths": depths,
    "temporary_bytes": temporary,
    **{f"{m}_growth_{ends}": value for m, value in growth.items()},
  }


def times(steps, depth, rounds) -> dict:
  """Returns times of a step by policy.

  The policies take turns, since other work may run on the machine.
  """
  flow = deep_flow.deep_flow(depth)
  keys = jax.random.split(jax.random.key(0), 3)
  shape = (deep_flow.BATCH, deep_flow.SIZE, deep_flow.SIZE)
  x = jax.random.normal(keys[0], (*shape, deep_flow.CHANNELS))
  cond = jax.random.normal(keys[1], (*shape, deep_flow.CONDITION))
  # All policies start with the same values, but a step donates its arrays.
  fits = {
    memory: init_fit(keys[2], flow, deep_flow.OPTIMIZER, x, cond)
    for memory in steps
  }
  taken = {memory: [] for memory in steps}
  for _ in range(rounds + 1):
    for memory, step in steps.items():
      watch = Stopwatch()
      fits[memory], measured = step(fits[memory], x, cond)
      jax.block_until_ready(measured)
      taken[memory].append(watch.seconds())
  seconds, processor = (
    {
      m: statistics.median(pair[k] for pair in of[1:])
      for m, of in taken.items()
    }
    for k in (0, 1)
  )
  ratios = {m: value / processor["store"] for m, value in processor.items()}
  print(f"\nSeconds per step of {depth} couplings, median of {rounds}")
  rows = [
    (m, f"{seconds[m]:.3f}", f"{processor[m]:.3f}", f"{ratios[m]:.2f}")
    for m in steps
  ]
  columns = ("policy", "seconds", "processor", "ratio to store")
  print(machine.table(columns, rows))
  return {
    "timed_depth": depth,
    "seconds_per_step": seconds,
    "processor_seconds_per_step": processor,
    "processor_seconds_by_stores": ratios,
  }


if __name__ == "__main__":
  main()
