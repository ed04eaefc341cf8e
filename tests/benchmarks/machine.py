"""What a benchmark ran on, and how its results are shown and kept.

Imports no JAX, so that a peer's process may use it as well.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import statistics
import sys


def facts(*packages, **more) -> dict:
  """Processor, cores that may be used, and versions; `more` as it is."""
  versions = {name: importlib.metadata.version(name) for name in packages}
  return {
    "processor": processor(),
    "cores": cores(),
    "load": [round(load, 2) for load in os.getloadavg()],
    "versions": {"python": platform.python_version(), **versions},
    **more,
  }


def processor() -> str:
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line for line in lines if line.startswith("model name")]
  if not names:
    return platform.processor() or platform.machine()
  return names[0].partition(":")[2].strip()


def cores() -> int:
  """How many this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def peak_bytes() -> int:
  """The most memory that this process has had so far."""
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def spread(values) -> dict:
  """Median, and the quarter of the values below and above which it lies."""
  low, median, high = statistics.quantiles(values, n=4, method="inclusive")
  return {"median": median, "low": low, "high": high}


def table(head, rows) -> str:
  """Rows of text in columns, the first to the left, the others to the right."""
  lines = [[str(cell) for cell in line] for line in (head, *rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(
      cell.ljust(width) if k == 0 else cell.rjust(width)
      for k, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )


def finish(results, found, path=None):
  """Prints what `facts` found; writes both as JSON where a path is given."""
  names = " ".join(f"{k} {v}" for k, v in found["versions"].items())
  load = found["load"][0]
  print(f"{found['processor']}, {found['cores']} cores (load {load}); {names}")
  if path:
    text = json.dumps({**results, "machine": found}, indent=2, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")
