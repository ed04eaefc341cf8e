"""Runs our code and a peer's in turns, the peer in a process of its own.

The peer's script calls `serve`. The benchmark starts the script as a `Peer`,
possibly with another interpreter, and calls it like a function. They exchange
lines of JSON.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]


def freia_python(given: str | None) -> str:
  """Returns the interpreter for FrEIA: the given one, or the current one.

  Raises:
    ValueError: if it has no torch or no FrEIA.
  """
  python = given or sys.executable
  find = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec,"
  try:
    result = subprocess.run([python, "-c", f"{find} ('torch', 'FrEIA'))))"])
    has_both = result.returncode == 0
  except OSError:
    has_both = False
  if not has_both:
    raise ValueError(
      f"--peer=freia needs torch and FrEIA, but {python} does not have both:"
      " install the extra freia, or pass another interpreter as --peer_python."
    )
  return python


class Peer:
  """A script that calls `serve`: `peer(**request) -> answer`.

  Attributes:
    facts: The facts that the script passed to `serve`.
  """

  def __init__(self, python, script):
    self._process = subprocess.Popen(
      [python, str(ROOT / "tests" / "benchmarks" / script)],
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.facts = self._answer()

  def __call__(self, **request):
    self._process.stdin.write(json.dumps(request) + "\n")
    self._process.stdin.flush()
    return self._answer()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()

  def _answer(self):
    line = self._process.stdout.readline()
    if not line:
      code = self._process.wait()
      raise RuntimeError(f"The peer ended with exit code {code}; see above.")
    return json.loads(line)


def serve(facts: dict, answer: Callable[..., dict]):
  """Sends `facts`, then answers requests until there are no more."""
  out, sys.stdout = sys.stdout, sys.stderr  # Keeps other prints out of it.
  print(json.dumps(facts), file=out, flush=True)
  for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), file=out, flush=True)


def alternate(sides: dict[str, Callable], rounds: int) -> dict[str, list]:
  """Calls the sides in turns; returns the results of each side by name.

  The first call of each side is a warm-up, and its result is dropped. The sides
  also take turns in beginning a round.
  """
  for side in sides.values():
    side()
  results = {name: [] for name in sides}
  for k in range(rounds):
    for name in list(sides) if k % 2 else reversed(sides):
      results[name].append(sides[name]())
  return results


def ratio(ours: list[float], peers: list[float]) -> dict:
  """Returns median and quartiles of the peer's seconds over ours, by round."""
  return machine.spread([p / o for o, p in zip(ours, peers, strict=True)])
