"""Checks that runs that are killed and resumed end with the same bits.

  launch/local.sh python tests/benchmarks/kill_and_resume.py \\
    [--kills=100] [--json=FILE]

Trains a tiny network once without interruption, then in rounds. In a round, the
run gets SIGKILL at random moments, while it starts, trains, saves or validates,
and the same command starts it again, until it is complete. Every round must end
with the same bits in the parameters, averages and optimizer, and with the same
validation numbers.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
STEPS, EVAL_EVERY = 24, 4


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--json", help="also write the outcome to this file")
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    outcome = compare(pathlib.Path(folder), flags.kills, flags.seed)
  print(
    f"{outcome['kills']} kills in {outcome['rounds']} rounds,"
    f" {outcome['while_stepping']} of them after the first step: all rounds"
    " ended with the same bits."
  )
  if flags.json:
    pathlib.Path(flags.json).write_text(json.dumps(outcome, indent=2) + "\n")


def compare(folder, kills, seed):
  """Returns counts of kills and rounds.

  Raises:
    AssertionError: if a round ends differently.
  """
  first_step, whole = uninterrupted(folder / "uninterrupted", folder)
  expected = outcome_of(folder / "uninterrupted")
  chance, counts = random.Random(seed), {"kills": 0, "while_stepping": 0}
  for number in itertools.count():
    workdir = folder / f"round_{number}"
    while True:
      # One kill in five comes while the run starts, the others after that.
      is_start = chance.random() < 0.2
      low, high = (0.0, first_step) if is_start else (first_step, whole)
      is_last = counts["kills"] == kills
      seconds = None if is_last else chance.uniform(low, high)
      if not is_killed(workdir, folder, seconds):
        break
      counts["kills"] += 1
      counts["while_stepping"] += (workdir / "metrics.jsonl").exists()
    assert outcome_of(workdir) == expected, f"{workdir} ended differently."
    print(f"round {number}: {counts['kills']} kills so far", flush=True)
    if counts["kills"] == kills:
      break
  return {**counts, "rounds": number + 1, "seed": seed}


def uninterrupted(workdir, cache):
  """Runs without a kill; returns the seconds to the first step and in total.

  A run before it fills the compilation cache.
  """
  is_killed(workdir.with_name("compiling"), cache, None)
  begin = time.monotonic()
  process = start(workdir, cache)
  while not (workdir / "metrics.jsonl").exists():
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.05)
  first_step = time.monotonic() - begin
  _finish(process)
  return first_step, time.monotonic() - begin


def is_killed(workdir, cache, seconds):
  """Trains for at most `seconds`; returns whether the run had to be killed."""
  process = start(workdir, cache)
  try:
    _finish(process, seconds)
  except subprocess.TimeoutExpired:
    process.kill()
    process.communicate()
    return True
  return False


def start(workdir, cache):
  """Starts the training command in a new process."""
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "cinn_jax.main",
      "--config=tests/support/tiny.py:digits",
      f"--workdir={workdir}",
      f"--config.train.num_steps={STEPS}",
      f"--config.train.eval_every={EVAL_EVERY}",
      "--config.train.log_every=1",
    ],
    cwd=ROOT,
    env={
      **os.environ,
      "JAX_COMPILATION_CACHE_DIR": str(cache / "compiled"),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      # For so small a network, optimizing takes longer than it saves.
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _finish(process, seconds=None):
  out, _ = process.communicate(timeout=seconds)
  assert process.returncode == 0, out


def outcome_of(workdir):
  """Returns the checksums of the last step and all validation numbers."""
  last = workdir / "checkpoints" / str(STEPS)
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return (
    json.loads((last / "checksums" / "metadata").read_text()),
    [row for row in rows if row["split"] == "validation"],
  )


if __name__ == "__main__":
  main()
