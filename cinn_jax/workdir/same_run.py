"""A check that a workdir holds the run that a config describes."""

import json
import os
from typing import Any

from cinn_jax.experiment import recipes
from cinn_jax.workdir.saved import newest_intact, read_config

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
  logging and `model.memory` may change.
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
  del flat["model.memory"]
  return flat
