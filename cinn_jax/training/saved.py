"""What a workdir holds of its checkpoints, without opening any device."""

import json

from cinn_jax import processes, storage


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
  place = folder(workdir)
  paths = place.iterdir() if place.exists() else ()
  steps = [int(p.name) for p in paths if p.name.isdigit() and _is_whole(p)]
  if not steps:
    raise FileNotFoundError(
      f"No trained checkpoint in {workdir}: train first (--mode=train), or"
      " pass the --workdir of a trained run."
    )
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
  path = folder(workdir) / str(step) / "config" / "metadata"
  config, why = None, "by another process"
  try:
    config = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    why = error
  if not processes.agree(config is not None):
    raise Damaged(
      f"The config of step {step:,} in {workdir} cannot be read ({why})."
    )
  return config
