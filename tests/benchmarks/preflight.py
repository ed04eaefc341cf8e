"""Compiles the published networks' training steps for TPU slices.

  launch/local.sh python tests/benchmarks/preflight.py [--table] \\
    [--config=configs/mnist.py] [--devices=tpu:v5e:2x2]

It needs the extra `preflight`, CINN_JAX_EXTRAS=preflight launch/local.sh true.
Each network is compiled at the batch of its config, in bfloat16, and its row is
appended to results/preflight.json. Rows that are there are skipped. --table
prints them and compiles nothing. A large network takes minutes.
"""

import argparse
import dataclasses
import importlib
import json
import pathlib
import sys

import jax

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.runtime import slices
from cinn_jax.training.preflight import preflight

RESULTS = pathlib.Path(__file__).parent / "results" / "preflight.json"
NETWORKS = (
  "configs/mnist.py",
  "configs/colorize.py:lsun",
  "configs/super_resolution.py:caflow,size=64",
  "configs/super_resolution.py:srflow,size=64",
  "configs/generate.py:tarflow,size=64",
  "configs/generate.py:jet,size=64",
  "configs/colorize.py:imagenet",
)
DEVICES = ("tpu:v5e:2x2", "tpu:v5e:4x4")


@dataclasses.dataclass(frozen=True)
class Row:
  """One compiled step; bytes and FLOPs are per chip."""

  config: str
  devices: str
  batch_size: int
  fits: bool
  state_bytes: int
  temporary_bytes: int
  total_bytes: int
  flops: float | None
  collectives: dict
  seconds: float
  jax: str


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--config", action="append", help="FILE or FILE:VARIANT")
  parser.add_argument("--devices", action="append", help="tpu:v5e:2x2, ...")
  parser.add_argument("--limit", type=float, default=3600, help="in seconds")
  parser.add_argument("--table", action="store_true", help="only print rows")
  flags = parser.parse_args()
  rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
  there = {(row["config"], row["devices"]) for row in rows}
  for devices in () if flags.table else flags.devices or DEVICES:
    for name in flags.config or NETWORKS:
      if (name, devices) not in there:
        rows.append(dataclasses.asdict(compiled(name, devices, flags.limit)))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
  print(table(rows))


def compiled(name, devices, limit) -> Row:
  path, _, variant = name.partition(":")
  module = path.removesuffix(".py").replace("/", ".")
  config = importlib.import_module(module).get_config(*filter(None, [variant]))
  config.model.compute_dtype = "bfloat16"
  print(f"{name} on {devices}", flush=True)
  found = preflight(config, devices, limit=limit)
  return Row(
    config=name,
    devices=devices,
    batch_size=config.train.batch_size,
    fits=found.fits(slices.parse(devices).chip),
    state_bytes=found.arguments,
    temporary_bytes=found.temporaries,
    total_bytes=found.total,
    flops=found.flops,
    collectives=found.collectives,
    seconds=round(found.seconds, 1),
    jax=jax.__version__,
  )


def table(rows) -> str:
  """Returns the rows as a table in Markdown."""
  head = [
    *["config, bfloat16", "devices", "batch", "fits", "state (GB)"],
    *["temporaries (GB)", "GFLOP", "collectives"],
  ]
  lines = [
    [
      *[f"`{row['config']}`", row["devices"], f"{row['batch_size']:,}"],
      "yes" if row["fits"] else "no",
      f"{row['state_bytes'] / 1e9:.2f}",
      f"{row['temporary_bytes'] / 1e9:.2f}",
      f"{row['flops'] / 1e9:,.0f}" if row["flops"] else "?",
      ", ".join(
        f"{count} {kind} ({size / 1e6:,.0f} MB)"
        for kind, (count, size) in row["collectives"].items()
      ),
    ]
    for row in rows
  ]
  rule = ["---"] * len(head)
  return "\n".join(
    "| " + " | ".join(line) + " |" for line in [head, rule, *lines]
  )


if __name__ == "__main__":
  main()
