"""The checkpoints that a workdir holds, read without opening any device."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cinn_jax.runtime import processes, storage

Result = TypeVar("Result")


class Damaged(ValueError):
  """A checkpoint that cannot be read, or that differs from what was saved."""


def folder(workdir: str | os.PathLike[str]) -> Any:
  """Returns the path of a workdir's checkpoints, which are `<step>/<item>`."""
  path = storage.path(workdir)
  return (path if storage.in_bucket(path) else path.absolute()) / "checkpoints"


def saved_steps(workdir: str | os.PathLike[str]) -> list[int]:
  """Returns the steps that were saved, newest first.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
  """
  steps = _steps(workdir)
  if not steps:
    raise FileNotFoundError(
      f"No trained checkpoint in {workdir}: train first (--mode=train), or"
      " pass the --workdir of a trained run."
    )
  return steps


def is_trained(workdir: str | os.PathLike[str]) -> bool:
  """Returns whether a workdir holds a checkpoint."""
  return bool(_steps(workdir))


def _steps(workdir):
  root = folder(workdir)
  paths = root.iterdir() if root.exists() else ()
  steps = [int(p.name) for p in paths if p.name.isdigit() and _is_whole(p)]
  return sorted(steps, reverse=True)


def _is_whole(path):
  # A folder gets its final name once everything is in it. In a bucket it has
  # that name from the start, and this file is written last.
  return not storage.in_bucket(path) or (path / "commit_success.txt").exists()


def newest_intact(
  workdir: str | os.PathLike[str], read: Callable[[int], Result]
) -> tuple[int, Result]:
  """Returns `(step, read(step))` of the newest step that `read` can read.

  Prints one line for each step that it skips.

  Raises:
    Damaged: from `read`, if it can read no step.
    FileNotFoundError: if the workdir holds no checkpoint.
  """
  *newer, oldest = saved_steps(workdir)
  for step in newer:
    try:
      return step, read(step)
    except Damaged as error:
      print(f"{error} Trying the one before.")
  return oldest, read(oldest)


def read_config(workdir: str | os.PathLike[str], step: int) -> dict[str, Any]:
  """Returns the config of a saved step.

  Raises:
    Damaged: if one of the processes cannot read it.
  """
  return _read_json(workdir, step, "config")


def check_metrics(workdir: str | os.PathLike[str]) -> None:
  """Raises Damaged if the validation metrics of a step cannot be read.

  Orbax reads the metrics of every step first, and stops if it cannot.
  """
  problem = None
  for step in _steps(workdir):
    path = folder(workdir) / str(step) / "metrics" / "metrics"
    try:
      if path.exists():
        ranking(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
      problem = (
        f"The validation metrics of step {step:,} cannot be read ({error}):"
        f" delete {path.parent} and start again; the step itself stays."
      )
  if not processes.agree(problem is None):
    raise Damaged(problem or f"Another process cannot read all of {workdir}.")


def ranking(metrics: Mapping[str, Any]) -> tuple[str, float]:
  """Returns the name and value of the number that ranks validated steps.

  It is "bits_per_dim", or "error" for a model without a likelihood. Lower is
  better.
  """
  name = "bits_per_dim"
  if name not in metrics and "error" in metrics:
    name = "error"
  return name, float(metrics[name])


def add_metrics(
  workdir: str | os.PathLike[str], step: int, metrics: dict[str, float]
) -> None:
  """Adds validation metrics to a step that was saved without them.

  Writes Orbax's own format, whole or not at all, and does not touch the rest of
  the step.

  Raises:
    OSError: if they cannot be written.
  """
  target = folder(workdir) / str(step) / "metrics"
  data = json.dumps(metrics).encode()
  if storage.in_bucket(target):
    storage.write_whole(target / "metrics", data)
    return
  # Outside the step: Orbax takes every folder in a step for an item of it.
  part = folder(workdir).with_name(".metrics")
  storage.write_whole(part / "metrics", data)
  storage.move(part, target)


def read_checksums(
  workdir: str | os.PathLike[str], step: int
) -> dict[str, dict[str, int]]:
  """Returns the checksums of a saved step, by item and by path in the item.

  Raises:
    Damaged: if one of the processes cannot read them.
  """
  return _read_json(workdir, step, "checksums")


def _read_json(workdir, step, item):
  path = folder(workdir) / str(step) / item / "metadata"
  content, reason = None, "by another process"
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    reason = error
  if not processes.agree(content is not None):
    raise Damaged(
      f"The {item} of step {step:,} in {workdir} cannot be read ({reason})."
    )
  return content
