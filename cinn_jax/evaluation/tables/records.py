"""An evaluation as JSON: rows, protocols, hardware and versions."""

import importlib.metadata
import json
import math
import os
import platform
from typing import Any

import jax

from cinn_jax.evaluation.tables import table
from cinn_jax.runtime import storage

_PACKAGES = ("cinn_jax", "jax", "jaxlib", "flax", "numpy")


def write_json(
  path: str | os.PathLike,
  rows: table.Rows,
  metrics: table.Metrics,
  **facts: Any,
) -> None:
  """Writes rows, protocols and `environment` to `path`, whole or not at all.

  Numbers are not rounded. `facts` are further entries, such as the config. JSON
  has no infinity and no NaN: facts that are not finite become "inf", "-inf" or
  "nan".

  Raises:
    ValueError: for rows that `table.check` refuses.
  """
  table.check(rows, metrics)
  names = {k for row in rows.values() for k in row.metrics}
  content = {
    "rows": {name: _as_json(row) for name, row in rows.items()},
    "metrics": {k: v._asdict() for k, v in metrics.items() if k in names},
    **environment(),
    **_finite_or_named(facts),
  }
  text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
  storage.write_whole(path, (text + "\n").encode())


def _finite_or_named(facts):
  """Replaces numbers that are not finite by their names."""
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


def read_json(
  path: str | os.PathLike,
) -> tuple[dict[str, table.Row], dict[str, table.Metric], dict[str, Any]]:
  """Reads what `write_json` wrote: (rows, metrics, everything in the file).

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: for a file of another kind.
  """
  try:
    content = json.loads(storage.path(path).read_bytes())
    metrics = {k: table.Metric(**v) for k, v in content["metrics"].items()}
    rows = {name: _as_row(facts) for name, facts in content["rows"].items()}
  except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
    raise ValueError(
      f"{path} is not an evaluation of this program: run --mode=evaluate again."
    ) from None
  return rows, metrics, content


def _as_row(facts):
  numbers = facts["metrics"]
  intervals = {
    k: tuple(v["interval"]) for k, v in numbers.items() if "interval" in v
  }
  values = {k: (v["value"], v["error"]) for k, v in numbers.items()}
  return table.Row(**{**facts, "metrics": values}, intervals=intervals or None)


def environment() -> dict[str, dict[str, Any]]:
  """Returns the hardware and the software versions of this run."""
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
    return "not installed"  # cinn_jax may run from its folder.
