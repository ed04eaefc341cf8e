"""An evaluation as JSON: rows, protocols, hardware and versions."""

import importlib.metadata
import json
import math
import os
import platform

import jax

from cinn_jax.evaluation.tables import table
from cinn_jax.runtime import storage

_PACKAGES = ("cinn_jax", "jax", "jaxlib", "flax", "numpy")


def write_json(path, rows, metrics, **facts):
  """Writes rows, protocols and `environment` to `path`, whole or not at all.

  No number is rounded. `facts` are further entries, such as the config's name;
  where one is not finite, which JSON cannot say, it is "inf", "-inf" or "nan".
  """
  table.check(rows, metrics)
  shown = {k for row in rows.values() for k in row.metrics}
  content = {
    "rows": {name: _as_json(row) for name, row in rows.items()},
    "metrics": {k: v._asdict() for k, v in metrics.items() if k in shown},
    **environment(),
    **_finite_or_named(facts),
  }
  text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
  storage.write_whole(path, (text + "\n").encode())


def _finite_or_named(facts):
  if isinstance(facts, dict):
    return {k: _finite_or_named(v) for k, v in facts.items()}
  if isinstance(facts, list | tuple):
    return [_finite_or_named(v) for v in facts]
  if isinstance(facts, float) and not math.isfinite(facts):
    return str(float(facts))
  return facts


def _as_json(row):
  numbers = {
    k: {"value": float(v), "error": None if e is None else float(e)}
    for k, (v, e) in row.metrics.items()
  }
  facts = {**row._asdict(), "metrics": numbers}
  intervals = facts.pop("intervals")
  for name, interval in (intervals or {}).items():
    numbers[name]["interval"] = [float(bound) for bound in interval]
  return facts


def read_json(path):
  """What `write_json` wrote: (rows, metrics, all of it).

  Raises:
    FileNotFoundError: where there is no such file.
    ValueError: for a file of something else.
  """
  try:
    content = json.loads(storage.path(path).read_bytes())
    metrics = {k: table.Metric(**v) for k, v in content["metrics"].items()}
    rows = {name: _as_row(facts) for name, facts in content["rows"].items()}
  except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
    raise ValueError(
      f"{path} is no evaluation of ours: make it anew."
    ) from None
  return rows, metrics, content


def _as_row(facts):
  numbers = facts["metrics"]
  intervals = {
    k: tuple(v["interval"]) for k, v in numbers.items() if "interval" in v
  }
  values = {k: (v["value"], v["error"]) for k, v in numbers.items()}
  return table.Row(**{**facts, "metrics": values}, intervals=intervals or None)


def environment():
  """Returns the hardware and the versions that the numbers were made with."""
  device = jax.devices()[0]
  return {
    "hardware": {
      "machine": platform.machine(),
      "cpu_count": os.cpu_count(),
      "platform": device.platform,
      "device_kind": device.device_kind,
      "device_count": jax.device_count(),
    },
    "versions": {
      "python": platform.python_version(),
      **{name: _version(name) for name in _PACKAGES},
    },
  }


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return "not installed"  # such as cinn_jax, run from its folder
