"""Measures the page: the time from a click to the files of eight previews.

  launch/local.sh python tests/benchmarks/page_clicks.py \\
    [--photo=FILE] [--clicks=20] [--json=FILE]

Opens a photograph with the weights of the package, compiles, and then clicks at
different places. A click adds a hint, draws the view with its dots, writes the
file of hints, draws eight samples and writes their previews, which is all that
the server does. Goal: at most 1.5 seconds on two cores.

`seconds` is the time by the clock, `processor` the time of all cores together,
which other work on the machine changes less.
"""

import argparse
import pathlib
import tempfile
import time

import machine
from PIL import Image
from skimage import data

from cinn_jax.page.runs import open_runs
from cinn_jax.page.session import Session
from cinn_jax.page.wishes import Settings
from cinn_jax.runtime import compilation_cache

PACKAGES = ("jax", "jaxlib", "flax", "pillow")


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photo", help="default: scikit-image's astronaut")
  parser.add_argument("--clicks", type=int, default=20)
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  compilation_cache.keep("~/.cache/cinn_jax")
  [run] = open_runs([]).values()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    photo = flags.photo or folder / "astronaut.png"
    if not flags.photo:
      Image.fromarray(data.astronaut()).save(photo)
    session = Session(folder / "tab")
    opening = timed(lambda: session.open(run, str(photo)))
    settings = Settings()
    click(session, settings, 0)
    clicks = [
      timed(lambda k=k: click(session, settings, k))
      for k in range(1, flags.clicks + 1)
    ]
    session.close()
  columns = {
    kind: machine.spread([row[kind] for row in clicks]) for kind in clicks[0]
  }
  names = ("median", "low", "high")
  rows = [
    [kind, *(f"{columns[kind][name]:.2f}" for name in names)]
    for kind in columns
  ]
  print(machine.table([f"{flags.clicks} clicks", *names], rows))
  results = {"opening": opening, "clicks": clicks}
  machine.finish(results, machine.facts(*PACKAGES), flags.json)


def click(session, settings, k):
  """Makes the k-th click, and waits for its previews."""
  session.add(20 + 10 * k, 30 + 8 * k, "#1e5aa8")
  session.picture()
  session.save_hints()
  shown = session.draw(settings)
  assert shown is not None and len(shown.files) == 8


def timed(action) -> dict[str, float]:
  """Returns the seconds of an action, by both clocks."""
  wall, processor = time.perf_counter(), time.process_time()
  action()
  return {
    "seconds": time.perf_counter() - wall,
    "processor": time.process_time() - processor,
  }


if __name__ == "__main__":
  main()
