"""The status of a run (`--mode=status`), read from its workdir."""

import datetime
import os

from cinn_jax.runtime import storage
from cinn_jax.workdir import lock, saved
from cinn_jax.workdir.log import read_log

_NOTHING = "nothing yet"


def status(workdir: str | os.PathLike[str]) -> str:
  """Describes a run in a few lines, whether or not it is running.

  The lines tell the last logged step and rate, the newest checkpoint, the best
  validation, and the process that holds the workdir.

  Raises:
    FileNotFoundError: if there is no run in the workdir.
    ValueError: if it is a file.
  """
  folder = storage.path(workdir)
  if folder.is_file():
    raise ValueError(
      f"{folder} is an exported file: --mode=status is for a run's folder."
    )
  rows = _logged(folder)
  train = [row for row in rows if row["split"] == "train"]
  validated = [row for row in rows if row["split"] == "validation"]
  lines = {"run": _alive(folder)}
  if train:
    last = train[-1]
    lines["step"] = (
      f"{last['step']:,}, {_loss(last)},"
      f" {last['images_per_second']:.0f} images/s, {last['data_wait']:.0%} of"
      f" the time waiting for data; {_age(folder / 'metrics.jsonl')}"
    )
  else:
    lines["step"] = "nothing logged yet"
  lines["saved"] = _saved(folder)
  if validated:
    best = min(validated, key=lambda row: saved.ranking(row)[1])
    name, value = saved.ranking(best)
    title = "bits/dim" if name == "bits_per_dim" else name
    lines["best"] = (
      f"validation {title} {value:.4f} at step"
      f" {best['step']:,}; last {validated[-1][name]:.4f} at step"
      f" {validated[-1]['step']:,}"
    )
  return "\n".join(f"{name:6}{text}" for name, text in lines.items())


def _loss(row):
  if "bits_per_dim" in row:
    return f"{row['bits_per_dim']:.3f} bits/dim"
  return f"loss {row['loss']:.3f}"


def _logged(workdir):
  try:
    return read_log(workdir)
  except FileNotFoundError:
    # Compiling takes a while, and a log in a bucket appears even later.
    if lock.is_held(workdir) or _saved(workdir) != _NOTHING:
      return []
    raise


def _alive(workdir):
  if lock.is_held(workdir):
    return f"alive, {lock.holder(workdir)}"
  return f"not running; last was {lock.holder(workdir)}"


def _saved(workdir):
  try:
    newest = saved.saved_steps(workdir)[0]
  except FileNotFoundError:
    return _NOTHING
  path = saved.folder(workdir) / str(newest) / "config" / "metadata"
  try:
    total = saved.read_config(workdir, newest)["train"]["num_steps"]
  except saved.Damaged:
    return f"step {newest:,}, damaged"
  return f"step {newest:,} of {total:,}; {_age(path)}"


def _age(path):
  seconds = datetime.datetime.now().timestamp() - storage.modified(path)
  return f"{datetime.timedelta(seconds=round(max(seconds, 0)))} ago"
