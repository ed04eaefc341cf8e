"""Measures the best that this machine can do.

  launch/local.sh python tests/benchmarks/ceilings.py [--json=FILE]

Times matrix products and convolutions with the sizes of our networks, each
alone in a compiled program, and a pass over memory that reads and writes every
number once. Prints the best of several turns, in GFLOP/s or GB/s. These rates
give lower bounds for the other benchmarks: a training step cannot take less
time than its FLOPs or its bytes take at these rates.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import machine

from cinn_jax.runtime import host_memory

# (m, k, n) of [m, k] times [k, n]: a layer of MNIST's couplings, and a large
# square product.
PRODUCTS = {"256x392x512": (256, 392, 512), "2048x2048x2048": (2048,) * 3}
# 3x3 convolutions of the LSUN network: batch, side, channels in, channels out.
CONVOLUTIONS = {
  "16x64x64, 64 to 128": (16, 64, 64, 128),
  "16x32x32, 128 to 128": (16, 32, 128, 128),
  "16x16x16, 128 to 256": (16, 16, 128, 256),
}
PASS_MEGABYTES = 97  # The size of MNIST's parameters.


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--turns", type=int, default=20)
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  host_memory.keep_freed_memory()  # As in training by `cinn_jax.main`.
  rows = []
  for name, (m, k, n) in PRODUCTS.items():
    seconds = _best(jnp.matmul, ((m, k), (k, n)), flags.turns)
    rows.append((f"product {name}", 2 * m * k * n / seconds / 1e9, "GFLOP/s"))
  for name, (b, side, c, d) in CONVOLUTIONS.items():
    shapes = ((b, side, side, c), (3, 3, c, d))
    seconds = _best(_convolve, shapes, flags.turns)
    # Products with the padding do not count.
    inside = (side - 2 / 3) ** 2
    work = 2 * 9 * b * inside * c * d
    rows.append((f"convolution {name}", work / seconds / 1e9, "GFLOP/s"))
  numbers = PASS_MEGABYTES * 10**6 // 4
  seconds = _best(lambda x: 1.5 * x, ((numbers,),), flags.turns)
  rows.append(("pass over memory", 8 * numbers / seconds / 1e9, "GB/s"))
  cells = [(name, f"{value:.1f}", unit) for name, value, unit in rows]
  print(machine.table(("what", "best", "unit"), cells))
  results = {name: value for name, value, _ in rows}
  machine.finish(results, machine.facts("jax", "jaxlib"), flags.json)


def _convolve(x, kernel):
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _best(function, shapes, turns):
  """Returns the seconds of the fastest turn."""
  keys = jax.random.split(jax.random.key(0), len(shapes))
  arrays = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
  run = jax.jit(function)
  jax.block_until_ready(run(*arrays))
  seconds = []
  for _ in range(turns):
    begin = time.perf_counter()
    jax.block_until_ready(run(*arrays))
    seconds.append(time.perf_counter() - begin)
  return min(seconds)


if __name__ == "__main__":
  main()
