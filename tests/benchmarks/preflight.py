"""Compiles the published networks' training steps for TPU slices.

  launch/local.sh python tests/benchmarks/preflight.py [--table] \\
    [--config=configs/mnist.py] [--devices=tpu:v5e:2x2]

It needs the extra `preflight`, CINN_JAX_EXTRAS=+preflight launch/local.sh true.
All networks are compiled in bfloat16 at the batches of their configs, and then
at the largest batch that fits: a power of two times the number of chips,
estimated from the first compilation and lowered until it fits. Each makes a row
in results/preflight.json. Rows that are there are skipped. --table prints them
and compiles nothing. A large network takes minutes.
"""

import argparse
import dataclasses
import importlib
import math
import pathlib
import sys

import jax
import result_rows

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.runtime import slices
from cinn_jax.training.preflight import preflight

RESULTS = pathlib.Path(__file__).parent / "results" / "preflight.json"
# The largest v5e slice of one host, and one of four; v6e for the largest.
SLICES = ("tpu:v5e:2x2", "tpu:v5e:4x4")
NETWORKS = {
  "configs/mnist.py": SLICES,
  "configs/mnist.py:paper": SLICES,
  "configs/colorize.py:lsun": SLICES,
  "configs/super_resolution.py:caflow,size=64": SLICES,
  "configs/super_resolution.py:dual_glow_plus,size=64": SLICES,
  "configs/super_resolution.py:srflow,size=64": SLICES,
  "configs/colorize.py:imagenet": (*SLICES, "tpu:v6e:4x4"),
  "configs/generate.py:jet64": (*SLICES, "tpu:v6e:4x4"),
  "configs/generate.py:tarflow64": (*SLICES, "tpu:v6e:4x4"),
}
PUBLISHED, LARGEST = "published", "largest"


@dataclasses.dataclass(frozen=True)
class Row:
  """One compiled step; bytes and FLOPs are per chip."""

  config: str
  devices: str
  batch: str
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
  for make in () if flags.table else (_published_row, _largest_row):
    for name in flags.config or NETWORKS:
      for devices in flags.devices or NETWORKS.get(name, SLICES):
        make(name, devices, flags.limit)
  print(table(result_rows.read(RESULTS)))


def key(row: result_rows.Row) -> tuple[int, str, str]:
  """Returns the name of a row; rows are sorted by it."""
  place = [*NETWORKS].index(row["config"]) if row["config"] in NETWORKS else 99
  return place, row["devices"], row["batch"] != PUBLISHED


def _rows_of(name, devices):
  """Returns the rows of a network on a slice that are there, by batch."""
  return {
    row["batch"]: row
    for row in result_rows.read(RESULTS)
    if (row["config"], row["devices"]) == (name, devices)
  }


def _published_row(name, devices, limit):
  if PUBLISHED not in _rows_of(name, devices):
    row = compiled(name, devices, PUBLISHED, None, limit)
    result_rows.append(RESULTS, dataclasses.asdict(row), key)


def _largest_row(name, devices, limit):
  rows = _rows_of(name, devices)
  if LARGEST in rows:
    return
  named = slices.parse(devices)

  def of(size):
    return compiled(name, devices, LARGEST, size, limit)

  best = of(_largest(rows[PUBLISHED], named))
  if best.fits:
    # The estimate counts what batches of all sizes need, so it may be small.
    while (row := of(2 * best.batch_size)).fits:
      best = row
  while not best.fits and best.batch_size > named.num_devices:
    best = of(best.batch_size // 2)
  if not best.fits:
    print(f"{name} does not fit {devices} with one picture on each chip.")
    return
  result_rows.append(RESULTS, dataclasses.asdict(best), key)


def _largest(row, named) -> int:
  """Estimates the largest batch that fits, from that of another batch."""
  if not row["total_bytes"]:
    return row["batch_size"] // 2
  room = named.chip.memory - row["total_bytes"] + row["temporary_bytes"]
  of_one = row["temporary_bytes"] / (row["batch_size"] / named.num_devices)
  return named.num_devices * 2 ** math.floor(math.log2(max(1, room / of_one)))


def compiled(name, devices, batch, size, limit) -> Row:
  """Compiles a network's step; `size` None is the batch of its config."""
  path, _, variant = name.partition(":")
  module = path.removesuffix(".py").replace("/", ".")
  config = importlib.import_module(module).get_config(*filter(None, [variant]))
  config.model.compute_dtype = "bfloat16"
  named = slices.parse(devices)
  chips = named.num_devices
  # A published batch that the chips cannot share is rounded up.
  size = size or -(-config.train.batch_size // chips) * chips
  config.train.batch_size = size
  print(f"{name} on {devices}, batch {size:,}", flush=True)
  found = preflight(config, devices, limit=limit)
  return Row(
    config=name,
    devices=devices,
    batch=batch,
    batch_size=size,
    fits=found.fits(named.chip),
    state_bytes=found.arguments,
    temporary_bytes=found.temporaries,
    total_bytes=found.total,
    flops=found.flops,
    collectives=found.collectives,
    seconds=round(found.seconds, 1),
    jax=jax.__version__,
  )


def table(rows) -> str:
  """Returns the rows as a table in Markdown; figures are per chip."""
  head = [
    *["config, bfloat16", "devices", "batch", "fits", "state (GB)"],
    *["temporaries (GB)", "GFLOP", "collectives"],
  ]
  lines = [
    [
      *[f"`{row['config']}`", row["devices"]],
      f"{row['batch_size']:,} ({row['batch']})",
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
