"""Checkpoints of a run, with Orbax: `workdir/checkpoints/<step>/<item>`.

Parameters, their average, the constants and the optimizer are items of their
own, so that what samples reads the average and the constants alone. The config
and checksums of all arrays are JSON beside them; nothing is pickled, so nothing
in a checkpoint is ever executed.
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from cinn_jax import processes
from cinn_jax.training.checksums import checksums
from cinn_jax.training.state import State

_ITEMS = ("params", "ema", "constants", "optimizer")


class Damaged(ValueError):
  """A checkpoint that cannot be read, or not as it was saved."""


class Checkpoints:
  """The checkpoints of one workdir; keeps the two newest and the best."""

  def __init__(self, workdir):
    self._folder = _folder(workdir)
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

  def save(self, state: State, config: dict, metrics: dict[str, float] | None):
    """Saves in the background; the state may be donated afterwards.

    `metrics` are None where the step was not validated; with them, the same
    step is saved again. Otherwise a step that is saved already stays as it is.

    Raises:
      OSError: where this one or the one before cannot be written.
    """
    step = int(state.step)
    # Orbax refuses to write an empty item: a model may have no constants.
    trees = {
      name: tree
      for name in _ITEMS
      if jax.tree.leaves(tree := getattr(state, name))
    }
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    sums = {name: checksums(tree) for name, tree in trees.items()}
    args = ocp.args.Composite(
      config=ocp.args.JsonSave(config),
      checksums=ocp.args.JsonSave(sums),
      **items,
    )
    if metrics and step == self.latest_step() and not self.metrics(step):
      self._manager.delete(step)
    self._written(lambda: self._manager.save(step, args=args, metrics=metrics))

  def restore(self, step: int, abstract: State) -> State:
    """The state at `step`; `abstract` gives shapes, types and shardings.

    Raises:
      Damaged: where it is not what was saved.
    """
    restored = self._read(
      step, {name: getattr(abstract, name) for name in _ITEMS}
    )

    def scalar(value, like):
      return jax.device_put(jnp.asarray(value, like.dtype), like.sharding)

    return abstract._replace(
      step=scalar(step, abstract.step),
      diverged=scalar(False, abstract.diverged),
      **restored,
    )

  def restore_variables(self, step: int, abstract: dict[str, Any]):
    """The averaged model's variables; arguments and errors as of `restore`."""
    abstract = dict(abstract)
    restored = self._read(
      step, {"ema": abstract.pop("params"), "constants": abstract}
    )
    return {"params": restored["ema"], **restored["constants"]}

  def _read(self, step, abstract):
    saved = {k: v for k, v in abstract.items() if jax.tree.leaves(v)}
    items = {k: ocp.args.StandardRestore(v) for k, v in saved.items()}
    try:
      restored = self._manager.restore(
        step,
        args=ocp.args.Composite(checksums=ocp.args.JsonRestore(), **items),
      )
    except Exception as error:  # What Orbax raises depends on what is broken.
      raise Damaged(
        f"Step {step:,} in {self._folder} cannot be read ({_brief(error)})."
      ) from error
    for name in saved:
      if checksums(restored[name]) != restored["checksums"].get(name):
        raise Damaged(
          f"Step {step:,} in {self._folder} is not as it was saved: its {name}"
          " have other checksums."
        )
    return {**abstract, **{name: restored[name] for name in saved}}

  def set_aside(self, step: int):
    """Moves a step to `workdir/damaged`, out of the way of a new one."""
    if processes.is_first():
      damaged = self._folder.parent / "damaged"
      damaged.mkdir(exist_ok=True)
      (self._folder / str(step)).rename(damaged / str(step))
    multihost_utils.sync_global_devices("set aside")
    self._manager.reload()

  def metrics(self, step: int) -> dict[str, float]:
    """The validation metrics that were saved with a step."""
    return self._manager.metrics(step)

  def wait(self):
    """Returns when everything saved so far is on disk; errors as `save`."""
    self._written(self._manager.wait_until_finished)

  def close(self):
    """Waits, and gives the threads back; errors as `save`."""
    self._written(self._manager.close)

  def _written(self, action):
    try:
      action()
    except Exception as error:  # Of a thread of Orbax, of any kind.
      raise OSError(
        f"A checkpoint in {self._folder} could not be written"
        f" ({_brief(error)}). Those before it are kept: make room, and start"
        " again."
      ) from error


def _quality(metrics):
  return -metrics["bits_per_dim"]


def _brief(error):
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:200]


def _folder(workdir):
  return pathlib.Path(workdir).absolute() / "checkpoints"


def saved_steps(workdir) -> list[int]:
  """The steps that were saved, newest first.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  folder = _folder(workdir)
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  if not steps:
    raise FileNotFoundError(
      f"No trained checkpoint in {workdir}: train first (--mode=train), or"
      " pass the --workdir of a trained run."
    )
  return sorted(steps, reverse=True)


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
    Damaged: where it cannot be read.
  """
  path = _folder(workdir) / str(step) / "config" / "metadata"
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise Damaged(
      f"The config of step {step:,} in {workdir} cannot be read ({error})."
    ) from None


def check_same_run(workdir, config: dict):
  """Raises ValueError where the workdir holds a run of another experiment.

  What makes an experiment is the config's `model`, `task`, `optimizer`,
  `data`, `augment` and `pretrain`, and the batch size and seed; its length and
  its logging may change.
  """
  try:
    step, saved = newest_intact(workdir, lambda k: read_config(workdir, k))
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
  sections = ("model", "task", "optimizer", "data", "augment", "pretrain")
  for section in sections:
    for name, value in config.get(section, {}).items():
      flat[f"{section}.{name}"] = value
  for name in ("batch_size", "seed"):
    flat[f"train.{name}"] = config["train"][name]
  return flat
