"""Ours and a peer in turns; the peer in a process of its own.

A peer's script calls `serve`; the benchmark starts it as a `Peer`, which may
have another interpreter, and calls it like a function. They talk in lines of
JSON.
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
  """The interpreter for FrEIA: the given one, or this.

  Raises:
    ValueError: where it lacks torch or FrEIA.
  """
  python = given or sys.executable
  find = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec,"
  try:
    tried = subprocess.run([python, "-c", f"{find} ('torch', 'FrEIA'))))"])
    has_both = tried.returncode == 0
  except OSError:
    has_both = False
  if not has_both:
    raise ValueError(
      f"{python} has no torch and FrEIA, which --peer=freia needs: install the"
      " extra freia, or name an interpreter that has them by --peer_python."
    )
  return python


class Peer:
  """`peer(**request) -> answer` of a script that calls `serve`.

  Attributes:
    facts: what the script said of itself.
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
  """The peer's end: says `facts`, then answers requests until they end."""
  out, sys.stdout = sys.stdout, sys.stderr  # Whatever else it prints.
  print(json.dumps(facts), file=out, flush=True)
  for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), file=out, flush=True)


def alternate(sides: dict[str, Callable], rounds: int) -> dict[str, list]:
  """What each side's calls returned; the first, a warm-up, does not count.

  Who begins a round takes turns as well.
  """
  for side in sides.values():
    side()
  results = {name: [] for name in sides}
  for k in range(rounds):
    for name in list(sides) if k % 2 else reversed(sides):
      results[name].append(sides[name]())
  return results


def ratio(ours: list[float], peers: list[float]) -> dict:
  """The peer's seconds over ours, round by round: median and spread."""
  return machine.spread([p / o for o, p in zip(ours, peers, strict=True)])
