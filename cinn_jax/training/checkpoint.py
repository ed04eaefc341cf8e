"""Checkpoints of a run, with Orbax: `workdir/checkpoints/<step>/<item>`.

Parameters, their average, the constants and the optimizer are items of their
own, so that what samples reads the average and the constants alone. The config
is JSON beside them; nothing is pickled.
"""

import json
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from cinn_jax.training.state import State

_ITEMS = ("params", "ema", "constants", "optimizer")


class Checkpoints:
  """The checkpoints of one workdir; keeps the two newest and the best."""

  def __init__(self, workdir):
    self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
          [
            policies.LatestN(2),
            policies.BestN(
              get_metric_fn=_quality,
              n=1,
              keep_checkpoints_without_metrics=False,
            ),
          ]
        ),
        # Without it Orbax writes no metrics, and a resumed run knows no best.
        best_fn=_quality,
      ),
    )

  def latest_step(self) -> int | None:
    """The newest step that was saved, or None."""
    return self._manager.latest_step()

  def save(self, state: State, config: dict, metrics: dict[str, float]):
    """Saves in the background; the state may be donated afterwards."""
    items = {
      name: ocp.args.StandardSave(getattr(state, name)) for name in _ITEMS
    }
    self._manager.save(
      int(state.step),
      args=ocp.args.Composite(config=ocp.args.JsonSave(config), **items),
      metrics=metrics,
    )

  def restore(self, step: int, abstract: State) -> State:
    """The state at `step`; `abstract` gives shapes, types and shardings."""
    items = {
      name: ocp.args.StandardRestore(getattr(abstract, name)) for name in _ITEMS
    }
    restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    return abstract._replace(
      step=jax.device_put(
        jax.numpy.asarray(step, abstract.step.dtype), abstract.step.sharding
      ),
      **{name: restored[name] for name in _ITEMS},
    )

  def restore_variables(self, step: int, abstract: dict[str, Any]):
    """The averaged model's variables; `abstract` as for `restore`."""
    abstract = dict(abstract)
    items = {
      "ema": ocp.args.StandardRestore(abstract.pop("params")),
      "constants": ocp.args.StandardRestore(abstract),
    }
    restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    return {"params": restored["ema"], **restored["constants"]}

  def metrics(self, step: int) -> dict[str, float]:
    """The validation metrics that were saved with a step."""
    return self._manager.metrics(step)

  def wait(self):
    """Returns when everything saved so far is on disk."""
    self._manager.wait_until_finished()

  def close(self):
    """Waits, and gives the threads back."""
    self._manager.close()


def _quality(metrics):
  return -metrics["bits_per_dim"]


def read_config(workdir) -> tuple[int, dict]:
  """The newest checkpoint's step and its config.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  folder = pathlib.Path(workdir).absolute() / "checkpoints"
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  if not steps:
    raise FileNotFoundError(
      f"No trained checkpoint in {workdir}: train first (--mode=train), or"
      " pass the --workdir of a trained run."
    )
  path = folder / str(max(steps)) / "config" / "metadata"
  return max(steps), json.loads(path.read_text())


def check_same_run(workdir, config: dict):
  """Raises ValueError where the workdir holds a run of another experiment.

  What makes an experiment is the config's `model`, `task`, `optimizer`, `data`
  and `augment`, and the batch size and seed; its length and its logging may
  change.
  """
  try:
    step, saved = read_config(workdir)
  except FileNotFoundError:
    return
  # Through JSON, where tuples are lists.
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
      f" ({'; '.join(changed[:3])}): pass another --workdir, or delete it."
    )


def _experiment(config):
  flat = {}
  for section in ("model", "task", "optimizer", "data", "augment"):
    for name, value in config[section].items():
      flat[f"{section}.{name}"] = value
  for name in ("batch_size", "seed"):
    flat[f"train.{name}"] = config["train"][name]
  return flat
