"""Measures and checks the published networks on an accelerator.

  launch/local.sh python tests/benchmarks/accelerator.py \\
    [--config=configs/mnist.py --config=configs/colorize.py:lsun] [--json=FILE]

Prints a table of training steps in float32 and in bfloat16: images per second,
the share of the machine's best rate for matrix products that the networks
reach, memory and compile time. Then prints a table of checks with random
parameters: the round trip, and how far the loss and its gradient are from those
that the processor computes in full float32.

All networks are compiled side by side, and measured one after the other. Rows
that are not compiled after --limit seconds are left out, and named.
"""

import argparse
import concurrent.futures
import importlib
import math
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import machine
import numpy as np
from training_step import TrainingStep, random_pictures

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.experiment.build import build
from cinn_jax.runtime import sharding

PUBLISHED = (
  "configs/mnist.py",
  "configs/colorize.py:lsun",
  "configs/colorize.py:imagenet",
  "configs/super_resolution.py:caflow,size=64",
  "configs/super_resolution.py:srflow,size=64",
)
DTYPES = ("float32", "bfloat16")
# Standard deviation of the noise on every parameter before a check: enough to
# move each coupling away from the identity.
NOISE = 0.02


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--config", action="append", help="FILE or FILE:VARIANT")
  parser.add_argument("--batch_size", type=int, help="default: the config's")
  parser.add_argument("--steps", type=int, default=10, help="steps per turn")
  parser.add_argument("--rounds", type=int, default=5, help="turns")
  parser.add_argument("--limit", type=float, default=600, help="in seconds")
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  deadline = time.monotonic() + flags.limit
  names = flags.config or PUBLISHED
  rates = {dtype: product_rate(dtype) for dtype in DTYPES}
  results = {"product_rates": rates}
  with concurrent.futures.ThreadPoolExecutor(machine.cores()) as pool:
    steps = {
      (name, dtype): pool.submit(compile_step, name, dtype, flags.batch_size)
      for name in names
      for dtype in DTYPES
    }
    steps = finished(steps, deadline)
    results["steps"] = [
      measure(key, step, rates, flags) for key, step in steps.items()
    ]
    print(step_table(results["steps"]))
    # Not before the turns, which they would slow down.
    checks = {name: pool.submit(check, name) for name in names}
    results["checks"] = [*finished(checks, deadline).values()]
    print("\n" + check_table(results["checks"]))
    pool.shutdown(cancel_futures=True)
  device = jax.devices()[0].device_kind
  facts = machine.facts("jax", "jaxlib", "flax", device=device)
  machine.finish(results, facts, flags.json)


def config_named(name, dtype, batch_size=None):
  path, _, variant = name.partition(":")
  module = path.removesuffix(".py").replace("/", ".")
  config = importlib.import_module(module).get_config(*filter(None, [variant]))
  config.model.compute_dtype = dtype
  config.train.batch_size = batch_size or config.train.batch_size
  return config


def compile_step(name, dtype, batch_size) -> TrainingStep:
  return TrainingStep(config_named(name, dtype, batch_size))


def finished(futures, deadline):
  """Returns the results that are ready by the deadline; names the others."""
  left = max(0, deadline - time.monotonic())
  concurrent.futures.wait(futures.values(), timeout=left)
  done = {}
  for key, future in futures.items():
    if not future.done():
      print(f"{key}: not compiled in time.")
    elif future.exception():
      print(f"{key}: {future.exception()}")
    else:
      done[key] = future.result()
  return done


def product_rate(dtype, size=8192, repeats=10) -> float:
  """Returns the FLOPs per second of large matrix products."""
  if jax.default_backend() == "cpu":
    size = 1024
  matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(matrix, matrix))
  begin = time.perf_counter()
  for _ in range(repeats):
    out = product(matrix, matrix)
  jax.block_until_ready(out)
  return 2 * size**3 * repeats / (time.perf_counter() - begin)


def measure(key, step, rates, flags) -> dict:
  """Returns one row of the table of training steps."""
  name, dtype = key
  turns = [step(flags.steps)["seconds"] for _ in range(flags.rounds)]
  seconds = machine.spread(turns)
  batch_size = len(step.pictures["image"])
  rate = step.flops and step.flops / seconds["median"]
  return {
    "config": name,
    "dtype": dtype,
    "parameters": step.parameters,
    "batch_size": batch_size,
    "seconds": seconds,
    "images_per_second": batch_size / seconds["median"],
    "flops_per_second": rate,
    "utilisation": rate and rate / rates[dtype],
    "temporary_bytes": step.temporary_bytes,
    "compile_seconds": step.compile_seconds,
  }


def step_table(rows) -> str:
  head = [
    *["config", "dtype", "batch", "ms", "images/s", "TFLOP/s", "utilisation"],
    *["memory (GB)", "compile (s)"],
  ]
  lines = [
    [
      *[row["config"], row["dtype"], row["batch_size"]],
      "{median:.4g} ({low:.4g} to {high:.4g})".format_map(
        {name: 1e3 * value for name, value in row["seconds"].items()}
      ),
      f"{row['images_per_second']:,.0f}",
      f"{row['flops_per_second'] / 1e12:.1f}" if row["utilisation"] else "?",
      f"{row['utilisation']:.1%}" if row["utilisation"] else "?",
      f"{row['temporary_bytes'] / 1e9:.2f}",
      f"{row['compile_seconds']:.0f}",
    ]
    for row in rows
  ]
  return machine.table(head, lines)


def check(name, count=2) -> dict:
  """Compares loss, gradient and round trip with the processor's."""
  config = config_named(name, "float32")
  config.train.batch_size = count
  flow, task = build(config)
  pictures = random_pictures(config, task.image_size)
  batch = sharding.put_batch(pictures, sharding.make_mesh())
  x, cond = jax.jit(task.prepare)(batch)
  variables = jax.jit(flow.init)(jax.random.key(0), x, cond)
  variables = jax.device_put(shake(variables))

  def loss(params, variables, x, cond):
    scores = flow.log_prob({**variables, "params": params}, x, cond)
    return -scores.total.mean() / math.prod(task.event_shape)

  def round_trip(variables, x, cond):
    z, _ = flow.forward(variables, x, cond)
    back, _ = flow.inverse(variables, z, cond)
    pairs = zip(jax.tree.leaves(back), jax.tree.leaves(x), strict=True)
    return jnp.stack([jnp.abs(a - b).max() for a, b in pairs]).max()

  arguments = (variables["params"], variables, x, cond)
  error = jax.jit(round_trip)(variables, x, cond)
  loss_and_gradient = jax.jit(jax.value_and_grad(loss))
  value, gradient = jax.device_get(loss_and_gradient(*arguments))
  here = jax.device_put(jax.device_get(arguments), jax.devices("cpu")[0])
  truth, exact = jax.device_get(loss_and_gradient(*here))
  pairs = [*zip(*map(jax.tree.leaves, (gradient, exact)), strict=True)]
  distance = sum(np.sum(np.square(a - b)) for a, b in pairs)
  size = sum(np.sum(np.square(b)) for _, b in pairs)
  return {
    "config": name,
    "round_trip_error": float(error),
    "loss": float(value),
    "loss_error": float(abs(value - truth)),
    "gradient_error": float(np.sqrt(distance / size)),
  }


def shake(variables):
  """Adds noise to all parameters, on the host, where nothing is compiled."""
  random = np.random.default_rng(1)
  params = jax.tree.map(
    lambda leaf: (
      leaf + NOISE * random.standard_normal(leaf.shape).astype(leaf.dtype)
    ),
    jax.device_get(variables["params"]),
  )
  return {**variables, "params": params}


def check_table(rows) -> str:
  head = ["config", "round trip", "loss (nats/dim)", "its error", "gradient's"]
  lines = [
    [
      row["config"],
      f"{row['round_trip_error']:.1e}",
      f"{row['loss']:.4f}",
      f"{row['loss_error']:.1e}",
      f"{row['gradient_error']:.1e}",
    ]
    for row in rows
  ]
  return machine.table(head, lines)


if __name__ == "__main__":
  main()
