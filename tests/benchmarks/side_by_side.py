"""Ours and a peer in turns; the peer in a process of its own.

A peer's script calls `serve`; the benchmark starts it as a `Peer`, which may
have another interpreter, and calls it like a function. They talk in lines of
JSON.
"""

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import machine

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FREIA = ("torch", "FrEIA")


def add_flags(parser):
  """--peer, --peer_python and --json."""
  parser.add_argument("--peer", choices=["freia"], help="run it as well")
  parser.add_argument(
    "--peer_python",
    default=sys.executable,
    metavar="PATH",
    help="an interpreter that has torch and FrEIA; default: this one",
  )
  parser.add_argument("--json", help="also write the results to this file")


def freia_python(flags) -> str:
  """The interpreter for FrEIA; leaves with one line where it has none."""
  python = flags.peer_python
  code = (
    "import importlib.util as u, sys;"
    f" sys.exit(not all(map(u.find_spec, {_FREIA})))"
  )
  try:
    has_it = subprocess.run([python, "-c", code]).returncode == 0
  except OSError:
    has_it = False
  if not has_it:
    sys.exit(
      f"Error: {python} has no {' and '.join(_FREIA)}, which --peer=freia"
      " needs: install the extra (pip install '.[freia]'), or name an"
      " interpreter that has them by --peer_python=PATH."
    )
  return python


class Peer:
  """`peer(**request) -> answer` of a script that calls `serve`.

  Attributes:
    facts: what the script said of itself.
  """

  def __init__(self, python, script, *arguments):
    self._process = subprocess.Popen(
      [python, str(script), *map(str, arguments)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      cwd=_ROOT,
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


def alternate(sides: dict[str, Callable], rounds: int, warm_up: int = 1):
  """`{name: [what each call returned]}`; who begins takes turns as well."""
  results = {name: [] for name in sides}
  for k in range(-warm_up, rounds):
    for name in list(sides) if k % 2 else reversed(list(sides)):
      value = sides[name]()
      if k >= 0:
        results[name].append(value)
  return results


def ratio(ours, peers) -> dict:
  """The peer's seconds over ours, round by round: median and spread."""
  return machine.spread([p / o for o, p in zip(ours, peers, strict=True)])
