"""What a workdir holds of its checkpoints, without opening any device."""

import json

from cinn_jax.runtime import processes, storage


class Damaged(ValueError):
  """A checkpoint that cannot be read, or not as it was saved."""


def folder(workdir):
  """Where a workdir's checkpoints are: `<step>/<item>`."""
  path = storage.path(workdir)
  return (path if storage.in_bucket(path) else path.absolute()) / "checkpoints"


def saved_steps(workdir) -> list[int]:
  """The steps that were saved, newest first.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  steps = _steps(workdir)
  if not steps:
    raise FileNotFoundError(
      f"No trained checkpoint in {workdir}: train first (--mode=train), or"
      " pass the --workdir of a trained run."
    )
  return steps


def _steps(workdir):
  place = folder(workdir)
  paths = place.iterdir() if place.exists() else ()
  steps = [int(p.name) for p in paths if p.name.isdigit() and _is_whole(p)]
  return sorted(steps, reverse=True)


def _is_whole(path):
  # A folder gets its name when all of it is there; in a bucket it has the name
  # from the start, and this last.
  return not storage.in_bucket(path) or (path / "commit_success.txt").exists()


def newest_intact(workdir, read):
  """`(step, read(step))` of the newest step for which `read` succeeds.

  Says which ones are passed over.

  Raises:
    Damaged: what `read` raised, where it succeeds for none.
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  steps = saved_steps(workdir)
  for step in steps:
    try:
      result = read(step)
    except Damaged as error:
      if step == steps[-1]:
        raise
      print(f"{error} Trying the one before.")
    else:
      return step, result


def read_config(workdir, step: int) -> dict:
  """The config of a saved step.

  Raises:
    Damaged: where it cannot be read, by one of several processes.
  """
  return _read_json(workdir, step, "config")


def check_metrics(workdir):
  """Raises Damaged where what validation measured of a step cannot be read.

  Orbax reads it of every step before anything else, and goes no further.
  """
  wrong = None
  for step in _steps(workdir):
    path = folder(workdir) / str(step) / "metrics" / "metrics"
    try:
      if path.exists():
        float(json.loads(path.read_text())["bits_per_dim"])
    except (OSError, ValueError, LookupError, TypeError) as error:
      wrong = (
        f"What validation measured of step {step:,} cannot be read ({error}):"
        f" delete {path.parent} and start again; the step itself stays."
      )
  if not processes.agree(wrong is None):
    raise Damaged(wrong or f"Another process cannot read all of {workdir}.")


def add_metrics(workdir, step: int, metrics: dict[str, float]):
  """Adds what validation measured to a step that was saved without.

  As Orbax keeps it, and whole or not at all: the step itself is not touched.

  Raises:
    OSError: where it cannot be written.
  """
  place = folder(workdir) / str(step) / "metrics"
  data = json.dumps(metrics).encode()
  if storage.in_bucket(place):
    storage.write_whole(place / "metrics", data)
    return
  # Outside, as Orbax takes whatever folder is in a step for a part of it.
  part = folder(workdir).with_name(".metrics")
  storage.write_whole(part / "metrics", data)
  storage.move(part, place)


def read_checksums(workdir, step: int) -> dict[str, dict[str, int]]:
  """By item of a saved step that holds arrays, their checksums by path.

  Raises:
    Damaged: where they cannot be read, by one of several processes.
  """
  return _read_json(workdir, step, "checksums")


def _read_json(workdir, step, item):
  path = folder(workdir) / str(step) / item / "metadata"
  content, why = None, "by another process"
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    why = error
  if not processes.agree(content is not None):
    raise Damaged(
      f"The {item} of step {step:,} in {workdir} cannot be read ({why})."
    )
  return content
