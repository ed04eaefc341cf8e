"""Checks that a workdir holds the run that a config describes."""

import json
import os
from collections.abc import Mapping
from typing import Any

from cinn_jax.experiment import recipes
from cinn_jax.runtime import processes, storage
from cinn_jax.workdir import shipped, tensor_file
from cinn_jax.workdir.saved import (
  Damaged,
  newest_intact,
  read_config,
  saved_steps,
)

# Values of settings that older checkpoints do not have.
_BEFORE = {
  "model.scanned": True,
  "model.condition_slope": 0.01,
  "model.haar_order": "channel",
  "model.flatten_order": "channel",
  "model.features": "",
  "model.learned_priors": False,
  "model.spatial_every": 0,
  "model.far": 0.0,
  "optimizer.clip_norm": 0.0,
  "task.num_classes": 10,
}


def check_same_run(
  workdir: str | os.PathLike[str], config: dict[str, Any]
) -> None:
  """Raises ValueError if the workdir holds a run of another experiment.

  The experiment is the config's `model`, `task`, `optimizer`, `data`, `augment`
  and `pretrain`, the batch size and the seed. The length of the run, its
  logging, `model.memory` and `data.cache` may change.
  """
  try:
    step, saved = newest_intact(workdir, lambda k: read_config(workdir, k))
  except FileNotFoundError:
    return
  # JSON turns the tuples of the new config into lists, as in the saved one.
  old, new = (_experiment(c) for c in (saved, json.loads(json.dumps(config))))
  names = sorted(old.keys() | new.keys())
  changed = [
    f"{name} is {new.get(name)!r}, was {old.get(name)!r}"
    for name in names
    if old.get(name) != new.get(name)
  ]
  if changed:
    raise ValueError(
      f"{workdir} holds step {step:,} of a run with another config"
      f" ({'; '.join(changed[:3])}): pass another --workdir, or delete that"
      " folder."
    )


def _experiment(config):
  flat = {}
  sections = ("model", "task", "optimizer", "data", "augment", "pretrain")
  for section in sections:
    for name, value in config.get(section, {}).items():
      flat[f"{section}.{name}"] = value
  for name in ("batch_size", "seed"):
    flat[f"train.{name}"] = config["train"][name]
  # A checkpoint may be older than the following settings.
  for name, value in recipes.MODEL.items():
    flat.setdefault(f"model.{name}", value)
  for name, value in json.loads(json.dumps(recipes.DATA)).items():
    flat.setdefault(f"data.{name}", value)
  for name, value in _BEFORE.items():
    flat.setdefault(name, value)
  # They change no step.
  del flat["model.memory"], flat["data.cache"]
  return flat


def note_pictures(
  workdir: str | os.PathLike[str], listings: Mapping[str, str]
) -> str:
  """Notes the listings of a run's pictures in its first process.

  Args:
    workdir: The run.
    listings: `Source.listing_hash` by split.

  Returns:
    A line for a run that is resumed with other pictures, else "".
  """
  if not processes.is_first():
    return ""
  place = storage.path(workdir) / "pictures.json"
  before = json.loads(place.read_text()) if place.exists() else {}
  changed = [k for k, own in listings.items() if before.get(k, own) != own]
  if before != listings:
    storage.write_whole(place, json.dumps(listings).encode())
  if not changed:
    return ""
  return (
    f"The pictures for {' and '.join(changed)} have changed since this run was"
    " last started: its order and scores are not those of one run."
  )


def check_kind(run: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
  """Raises ValueError if a run is of another task or model than a config.

  Args:
    run: As for `restore`, which names other faults.
    config: The config that was given next to it.
  """
  saved = _settings_of(run)
  for section in ("task", "model"):
    name = config.get(section, {}).get("name")
    own = saved.get(section, {}).get("name", name)
    if own != name:
      raise ValueError(
        f"--config has the {section} {name}, but {run} holds a run with {own}:"
        " leave --config out, or pass another --workdir."
      )


def _settings_of(run):
  """Returns the config of a run; {} if there is none that can be read."""
  file = shipped.find(run) or storage.path(run)
  try:
    if file.suffix == ".safetensors":
      return tensor_file.read(file)[1].get("run") or {}
    return read_config(run, saved_steps(run)[0])
  except (Damaged, FileNotFoundError, ValueError):
    return {}
