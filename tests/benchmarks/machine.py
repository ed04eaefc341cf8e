"""The hardware and versions of a benchmark; tables and JSON of its results.

It imports no JAX, so peers can use it in their own process.
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
  """Returns the processor, usable cores, load and versions, and `more`."""
  versions = {name: importlib.metadata.version(name) for name in packages}
  return {
    "processor": processor(),
    "cores": cores(),
    "load": [round(load, 2) for load in os.getloadavg()],
    "versions": {"python": platform.python_version(), **versions},
    **more,
  }


def processor() -> str:
  """Returns the name of the processor."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line for line in lines if line.startswith("model name")]
  if not names:
    return platform.processor() or platform.machine()
  return names[0].partition(":")[2].strip()


def cores() -> int:
  """Returns the number of cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def peak_bytes() -> int:
  """Returns the peak memory of this process so far."""
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def spread(values) -> dict[str, float]:
  """Returns the median and the quartiles."""
  low, median, high = statistics.quantiles(values, n=4, method="inclusive")
  return {"median": median, "low": low, "high": high}


def table(head, rows) -> str:
  """Aligns rows in columns: the first one left, the others right."""
  lines = [[str(cell) for cell in line] for line in (head, *rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(
      cell.ljust(width) if k == 0 else cell.rjust(width)
      for k, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )


def finish(results, machine_facts, path=None):
  """Prints the facts; if there is a `path`, writes both there as JSON."""
  names = " ".join(f"{k} {v}" for k, v in machine_facts["versions"].items())
  load = machine_facts["load"][0]
  print(
    f"{machine_facts['processor']}, {machine_facts['cores']} cores"
    f" (load {load}); {names}"
  )
  if path:
    content = {**results, "machine": machine_facts}
    text = json.dumps(content, indent=2, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")
