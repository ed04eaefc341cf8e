"""Checkpoints of a run, with Orbax: `workdir/checkpoints/<step>/<item>`.

Parameters, their average if one is kept, the constants and the optimizer are
items of their own, so that what samples reads the average and the constants
alone. The config and checksums of all arrays are JSON beside them; nothing is
pickled, so nothing in a checkpoint is ever executed.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from cinn_jax.runtime import processes, sharding, storage
from cinn_jax.workdir.checksums import checksums
from cinn_jax.workdir.saved import (
  Damaged,
  add_metrics,
  check_metrics,
  folder,
  read_checksums,
)
from cinn_jax.workdir.state import State

_ITEMS = ("params", "ema", "constants", "optimizer")


class Checkpoints:
  """The checkpoints of one workdir; keeps the two newest and the best.

  Raises:
    Damaged: where what validation measured of one cannot be read.
  """

  def __init__(self, workdir):
    check_metrics(workdir)
    self._workdir, self._folder = workdir, folder(workdir)
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
    # Of several processes each reads on its own: where one cannot, the others
    # are not left waiting for it.
    alone = {jax.process_index()}
    self._reader = ocp.Checkpointer(
      ocp.CompositeCheckpointHandler(),
      multiprocessing_options=ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes=alone
      ),
    )

  def latest_step(self) -> int | None:
    """The newest step that was saved, or None."""
    return self._manager.latest_step()

  def save(self, state: State, config: dict, metrics: dict[str, float] | None):
    """Saves in the background; the state may be donated afterwards.

    `metrics` are None where the step was not validated; where it is saved
    already, only they are added.

    Raises:
      OSError: where this one or the one before cannot be written, of several
        processes also where one is gone.
    """
    step = int(state.step)
    if step == self.latest_step():
      # All have looked before one adds any: else they would part here.
      if metrics and not processes.agree(bool(self.metrics(step))):
        self._written(lambda: self._add(step, metrics))
      return
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
    self._written(lambda: self._manager.save(step, args=args, metrics=metrics))

  def _add(self, step, metrics):
    self._manager.wait_until_finished()
    if processes.is_first():
      add_metrics(self._workdir, step, metrics)
    multihost_utils.sync_global_devices("metrics")
    self._manager.reload()

  def restore(self, step: int, abstract: State) -> State:
    """The state at `step`; `abstract` gives shapes, types and shardings.

    Where an average is asked for and none was kept, it starts here.

    Raises:
      Damaged: where it is not what was saved, to one of several processes.
    """
    items = {name: getattr(abstract, name) for name in _ITEMS}
    sums = self._checksums(step)
    if "ema" not in sums:
      del items["ema"]
    restored = self._read(step, items, sums)
    if abstract.ema is not None and "ema" not in restored:
      places = jax.tree.map(lambda leaf: leaf.sharding, abstract.ema)
      restored["ema"] = sharding.copied(restored["params"], places)

    def scalar(value, like):
      return jax.device_put(jnp.asarray(value, like.dtype), like.sharding)

    return abstract._replace(
      step=scalar(step, abstract.step),
      diverged=scalar(False, abstract.diverged),
      **restored,
    )

  def restore_variables(self, step: int, abstract: dict[str, Any]):
    """What `State.ema_variables` was; arguments and errors as of `restore`."""
    sums = self._checksums(step)
    params = "ema" if "ema" in sums else "params"
    abstract = dict(abstract)
    restored = self._read(
      step, {params: abstract.pop("params"), "constants": abstract}, sums
    )
    return {"params": restored[params], **restored["constants"]}

  def _checksums(self, step):
    """Of all items of a step, and so which it has."""
    sums = read_checksums(self._workdir, step)
    if not set(sums) <= set(_ITEMS):
      raise Damaged(
        f"The checksums of step {step:,} in {self._folder} are of"
        f" {', '.join(sums)}: some of them are no part of a checkpoint."
      )
    return sums

  def _read(self, step, abstract, sums):
    kept = {k: v for k, v in abstract.items() if jax.tree.leaves(v)}
    items = {k: ocp.args.StandardRestore(v) for k, v in kept.items()}
    args = ocp.args.Composite(**items)
    restored, cause = None, None
    try:
      restored = self._reader.restore(self._folder / str(step), args=args)
    except Exception as error:  # What Orbax raises depends on what is broken.
      cause = error
    if not processes.agree(cause is None):
      why = _brief(cause) if cause else "by another process"
      raise Damaged(
        f"Step {step:,} in {self._folder} cannot be read ({why})."
      ) from cause
    wrong = [
      f"its {name} have other checksums"
      for name in kept
      if checksums(restored[name]) != sums.get(name)
    ]
    if not processes.agree(not wrong):
      why = " and ".join(wrong) or "another process has read something else"
      raise Damaged(
        f"Step {step:,} in {self._folder} is not as it was saved: {why}."
      )
    return {**abstract, **{name: restored[name] for name in kept}}

  def set_aside(self, step: int):
    """Moves a step to `workdir/damaged`, out of the way of a new one."""
    if processes.is_first():
      damaged = self._folder.parent / "damaged"
      names = itertools.chain(
        [str(step)], (f"{step}-{k}" for k in itertools.count(2))
      )
      free = (damaged / name for name in names)
      target = next(path for path in free if not path.exists())
      storage.move(self._folder / str(step), target)
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
    self._reader.close()
    self._written(self._manager.close)

  def _written(self, action):
    try:
      action()
    except Exception as error:  # Of a thread of Orbax, of any kind.
      raise OSError(
        f"A checkpoint in {self._folder} could not be written"
        f" ({_brief(error)}). Those before it are kept: make room, or see that"
        " it may be written, and start again."
      ) from error


def _quality(metrics):
  return -metrics["bits_per_dim"]


def _brief(error):
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:200]
