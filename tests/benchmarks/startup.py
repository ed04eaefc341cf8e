"""Measures the time from the start of a training run to its first step.

  launch/local.sh python tests/benchmarks/startup.py \\
    [--json=FILE] [--config=configs/colorize.py]

Starts `python -m cinn_jax.main` in a new workdir and stops it when the log has
the numbers of the first step. So it measures imports, opening the data,
compilation and the step itself. The first run has an empty compilation cache,
and later runs use what it left. Goal: at most 15 seconds with a warm cache, on
two cores.

`seconds` is the time by the clock, `processor` the time of all cores together,
which other work on the machine changes less.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("jax", "jaxlib", "flax", "orbax-checkpoint", "grain")


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--config", default="configs/colorize.py")
  parser.add_argument("--runs", type=int, default=3, help="with a warm cache")
  parser.add_argument("--timeout", type=int, default=600, help="in seconds")
  parser.add_argument("--json", help="also write the results to this file")
  flags, more = parser.parse_known_args()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    command = [
      sys.executable,
      "-m",
      "cinn_jax.main",
      f"--config={flags.config}",
      f"--compilation_cache={folder / 'cache'}",
      *more,
    ]
    runs = [
      first_step(command, folder / f"run_{k}", flags.timeout)
      for k in range(1 + flags.runs)
    ]
  results = {"config": flags.config, "cold": runs[0], "warm": runs[1:]}
  lines = [
    [f"{'warm' if k else 'cold'} cache", *(f"{x:.1f}" for x in run.values())]
    for k, run in enumerate(runs)
  ]
  print(machine.table([flags.config, *runs[0]], lines))
  machine.finish(results, machine.facts(*PACKAGES), flags.json)


def first_step(command, workdir, timeout) -> dict[str, float]:
  """Times a run from its start to the numbers of its first step."""
  log = workdir / "metrics.jsonl"
  errors = workdir.with_suffix(".err")
  before = children_seconds()
  begin = time.perf_counter()
  with errors.open("w") as file:
    process = subprocess.Popen(
      [*command, f"--workdir={workdir}", "--config.train.log_every=1"],
      cwd=ROOT,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      stdout=subprocess.DEVNULL,
      stderr=file,
    )
  try:
    while not (log.exists() and log.read_text().endswith("\n")):
      if process.poll() is not None:
        lines = errors.read_text().splitlines()
        sys.exit(f"The run ended before its first step: {lines[-1:]}")
      if time.perf_counter() - begin > timeout:
        sys.exit(f"No step in {timeout} seconds: pass a larger --timeout.")
      time.sleep(0.02)
    seconds = time.perf_counter() - begin
  finally:
    process.kill()
    process.wait()
  return {"seconds": seconds, "processor": children_seconds() - before}


def children_seconds() -> float:
  """Returns the processor time of all child processes that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


if __name__ == "__main__":
  main()
