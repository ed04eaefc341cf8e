"""Compares training in float32 and bfloat16, with stored and rebuilt inputs.

  launch/local.sh python tests/benchmarks/precision.py [--json=FILE]

Trains `configs/mnist.py:digits` for a few hundred steps with networks in
float32 and in bfloat16, each with the memory policies `store` and `reversible`.
All runs have the same initial parameters, batches and noise. Prints the
validation bits/dim and the largest round-trip error from the log.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import tempfile

import jax
import machine

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.training.train import train
from configs import mnist

# (compute_dtype, memory); the first is the reference.
VARIANTS = (
  ("float32", "store"),
  ("float32", "reversible"),
  ("bfloat16", "store"),
  ("bfloat16", "reversible"),
)


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--steps", type=int, default=300)
  parser.add_argument("--every", type=int, default=100, help="in steps")
  flags = parser.parse_args()
  curves = {
    " ".join(variant): curve(*variant, flags.steps, flags.every)
    for variant in VARIANTS
  }
  report(curves)
  device = jax.devices()[0].device_kind
  facts = machine.facts("jax", "flax", device=device)
  machine.finish({"curves": curves}, facts, flags.json)


def curve(compute_dtype, memory, steps, every) -> list[dict]:
  """Trains; returns the logged step, bits_per_dim and round_trip_error."""
  config = mnist.get_config("digits")
  config.model.update({"compute_dtype": compute_dtype, "memory": memory})
  config.train.update(
    {
      "num_steps": steps,
      "eval_every": every,
      "sheet_every": steps,
      "log_every": every,
    }
  )
  with tempfile.TemporaryDirectory() as folder:
    with (
      open(os.devnull, "w") as nowhere,
      contextlib.redirect_stdout(nowhere),
      contextlib.redirect_stderr(nowhere),
    ):
      train(config, folder)
    lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  names = ("step", "bits_per_dim", "round_trip_error")
  return [
    {name: row[name] for name in names}
    for row in rows
    if row["split"] == "validation"
  ]


def report(curves):
  first = next(iter(curves.values()))
  steps = [f"step {row['step']}" for row in first]
  print("Validation bits/dim of configs/mnist.py:digits")
  rows = [
    (name, *(f"{row['bits_per_dim']:.4f}" for row in rows))
    for name, rows in curves.items()
  ]
  print(machine.table(("networks, memory", *steps), rows))
  print("\nLargest round-trip error, in standardised pixels")
  rows = [
    (name, *(f"{row['round_trip_error']:.1e}" for row in rows))
    for name, rows in curves.items()
  ]
  print(machine.table(("networks, memory", *steps), rows))


if __name__ == "__main__":
  main()
