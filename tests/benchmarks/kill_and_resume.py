"""A run killed at random moments ends as one that was left alone.

  python tests/benchmarks/kill_and_resume.py [--kills=100] [--json=FILE]

Trains a tiny network, once uninterrupted, then in rounds: SIGKILL at a random
moment, of its start or its steps, saves and validations, and the same command
again, until it is done. Each round must end with the same bits in parameters,
averages and optimizer, and with the same validation numbers.
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
    f" {outcome['while_stepping']} of them after the first step: every round"
    " ended bit-identical."
  )
  if flags.json:
    pathlib.Path(flags.json).write_text(json.dumps(outcome, indent=2) + "\n")


def compare(folder, kills, seed):
  """Counts of kills and rounds; AssertionError where a round ends otherwise."""
  first_step, whole = uninterrupted(folder / "uninterrupted", folder)
  expected = outcome_of(folder / "uninterrupted")
  chance, done = random.Random(seed), {"kills": 0, "while_stepping": 0}
  for number in itertools.count():
    workdir = folder / f"round_{number}"
    while True:
      # One in five while it starts, the others while it steps.
      starting = chance.random() < 0.2
      low, high = (0.0, first_step) if starting else (first_step, whole)
      stop = done["kills"] == kills
      killed = run(workdir, folder, None if stop else chance.uniform(low, high))
      if not killed:
        break
      done["kills"] += 1
      done["while_stepping"] += (workdir / "metrics.jsonl").exists()
    assert outcome_of(workdir) == expected, f"{workdir} ended otherwise."
    print(f"round {number}: {done['kills']} kills so far", flush=True)
    if done["kills"] == kills:
      break
  return {**done, "rounds": number + 1, "seed": seed}


def uninterrupted(workdir, cache):
  """Seconds to the first step and of the whole, once compiled."""
  run(workdir.with_name("compiling"), cache, None)
  begin = time.monotonic()
  process = start(workdir, cache)
  while not (workdir / "metrics.jsonl").exists():
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.05)
  first_step = time.monotonic() - begin
  _finish(process)
  return first_step, time.monotonic() - begin


def run(workdir, cache, seconds):
  """Whether the run had to be killed, after so many seconds."""
  process = start(workdir, cache)
  try:
    _finish(process, seconds)
  except subprocess.TimeoutExpired:
    process.kill()
    process.communicate()
    return True
  return False


def start(workdir, cache):
  """The training command, in a process of its own."""
  return subprocess.Popen(
    [
      *(
        sys.executable,
        "-m",
        "cinn_jax.main",
        "--config=tests/support/tiny.py:digits",
      ),
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
      # The network is so small that this takes longer than it spares.
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
  """Checksums of every array of the last step, and all validation numbers."""
  last = workdir / "checkpoints" / str(STEPS)
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return (
    json.loads((last / "checksums" / "metadata").read_text()),
    [row for row in rows if row["split"] == "validation"],
  )


if __name__ == "__main__":
  main()
