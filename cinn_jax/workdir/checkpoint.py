"""Orbax checkpoints of a run, `workdir/checkpoints/<step>/<item>`.

Parameters, their average if one is kept, constants and optimizer state are
separate items, so that sampling reads only the average and the constants. The
config and the checksums of all arrays are stored with them as JSON. Nothing is
pickled, so loading a checkpoint never executes code.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from cinn_jax.bijections.base import PyTree
from cinn_jax.runtime import processes, sharding, storage
from cinn_jax.workdir.checksums import checksums
from cinn_jax.workdir.saved import (
  Damaged,
  add_metrics,
  check_metrics,
  folder,
  ranking,
  read_checksums,
)
from cinn_jax.workdir.state import Fit, State


def check_path(workdir: str | os.PathLike[str]) -> None:
  """Raises ValueError for a workdir in which nothing could be saved.

  Orbax takes the path for a pattern when it joins its files.
  """
  if "[" in str(folder(workdir)):
    raise ValueError(
      f"{folder(workdir)} has a '[' in its path, with which checkpoints cannot"
      " be written: choose another --workdir."
    )


class Checkpoints:
  """The checkpoints of one workdir; keeps the two newest and the best.

  Args:
    workdir: Folder of the run.
    clean: Removes, before the first save, what interrupted saves left. Only the
      run itself may: readers would remove what it is saving.

  Raises:
    Damaged: if the validation metrics of a step cannot be read.
  """

  def __init__(self, workdir: str | os.PathLike[str], *, clean: bool = False):
    check_metrics(workdir)
    self._workdir, self._folder = workdir, folder(workdir)
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        cleanup_tmp_directories=clean,
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
        # Without this, Orbax writes no metrics; a resumed run needs them to
        # know the best step.
        best_fn=_quality,
      ),
    )
    # Each process reads on its own: if one fails, the others do not wait for
    # it.
    alone = {jax.process_index()}
    self._reader = ocp.Checkpointer(
      ocp.CompositeCheckpointHandler(),
      multiprocessing_options=ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes=alone
      ),
    )

  def latest_step(self) -> int | None:
    """Returns the newest saved step, or None."""
    return self._manager.latest_step()

  def save(
    self,
    state: State,
    config: dict[str, Any],
    metrics: dict[str, float] | None,
  ) -> None:
    """Saves a state in the background; the state may be donated afterwards.

    If its step is saved already, only the metrics are added.

    Args:
      state: The state to save.
      config: The run's config.
      metrics: Validation metrics, or None if the step was not validated.

    Raises:
      OSError: if this or the previous checkpoint cannot be written, or if
        another process of the run is gone.
    """
    step = int(state.step)
    if step == self.latest_step():
      # The processes agree before one of them adds metrics: otherwise the
      # others might find the metrics and take the other branch.
      if metrics and not processes.agree(bool(self.metrics(step))):
        self._write(lambda: self._add(step, metrics))
      return
    trees = _without_empty(_items(state))
    if not int(state.skipped):
      del trees["skipped"]
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    sums = {name: checksums(tree) for name, tree in trees.items()}
    args = ocp.args.Composite(
      config=ocp.args.JsonSave(config),
      checksums=ocp.args.JsonSave(sums),
      **items,
    )
    self._write(lambda: self._manager.save(step, args=args, metrics=metrics))

  def _add(self, step, metrics):
    self._manager.wait_until_finished()
    if processes.is_first():
      add_metrics(self._workdir, step, metrics)
    multihost_utils.sync_global_devices("metrics")
    self._manager.reload()

  def restore(self, step: int, abstract: State) -> State:
    """Returns the state at `step`.

    If `abstract` has an average and the checkpoint has none, the average starts
    from the restored parameters.

    Args:
      step: A saved step.
      abstract: Shapes, types and shardings of the state.

    Raises:
      Damaged: if one of the processes cannot read what was saved.
    """
    items = _items(abstract)
    sums = self._checksums(step)
    for name in ("ema", "skipped"):
      if name not in sums:
        del items[name]
    restored = self._read(step, items, sums)
    skipped = restored.pop("skipped", {"steps": 0})["steps"]
    ema = restored.pop("ema", None)
    if abstract.ema is not None and ema is None:
      places = jax.tree.map(lambda leaf: leaf.sharding, abstract.ema)
      ema = sharding.copy_to(restored["params"], places)

    def scalar(value, like):
      return jax.device_put(jnp.asarray(value, like.dtype), like.sharding)

    return State(
      step=scalar(step, abstract.step),
      fit=Fit(**restored),
      ema=ema,
      skipped=scalar(skipped, abstract.skipped),
    )

  def restore_variables(
    self, step: int, abstract: dict[str, PyTree]
  ) -> dict[str, PyTree]:
    """Returns the `State.ema_variables` of a saved step.

    Arguments and errors are those of `restore`, with shapes of the variables.
    """
    sums = self._checksums(step)
    params = "ema" if "ema" in sums else "params"
    abstract = dict(abstract)
    restored = self._read(
      step, {params: abstract.pop("params"), "constants": abstract}, sums
    )
    return {"params": restored[params], **restored["constants"]}

  def _checksums(self, step):
    """Returns the checksums of a step; its keys are the items it has."""
    sums = read_checksums(self._workdir, step)
    if not set(sums) <= {*Fit._fields, "ema", "skipped"}:
      raise Damaged(
        f"Step {step:,} in {self._folder} has checksums for {', '.join(sums)};"
        " some of these are not part of a checkpoint."
      )
    return sums

  def _read(self, step, abstract, sums):
    stored = _without_empty(abstract)
    items = {k: ocp.args.StandardRestore(v) for k, v in stored.items()}
    args = ocp.args.Composite(**items)
    restored, cause = None, None
    try:
      restored = self._reader.restore(self._folder / str(step), args=args)
    except Exception as error:  # Orbax's error depends on what is broken.
      cause = error
    if not processes.agree(cause is None):
      reason = _brief(cause) if cause else "by another process"
      raise Damaged(
        f"Step {step:,} in {self._folder} cannot be read ({reason})."
      ) from cause
    problems = [
      f"the checksums of its {name} differ"
      for name in stored
      if checksums(restored[name]) != sums.get(name)
    ]
    if not processes.agree(not problems):
      reason = " and ".join(problems) or "another process read something else"
      raise Damaged(
        f"Step {step:,} in {self._folder} is not as it was saved: {reason}."
      )
    return {**abstract, **{name: restored[name] for name in stored}}

  def set_aside(self, step: int) -> None:
    """Moves a step to `workdir/damaged`, to make room for a new one."""
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

  def metrics(self, step: int) -> dict[str, float] | None:
    """Returns the validation metrics saved with a step, if there are any."""
    return self._manager.metrics(step)

  def wait(self) -> None:
    """Waits until everything saved so far is on disk; errors as for `save`."""
    self._write(self._manager.wait_until_finished)

  def close(self) -> None:
    """Waits as `wait` does, then ends the threads; errors as for `save`."""
    self._reader.close()
    self._write(self._manager.close)

  def _write(self, action: Callable[[], Any]) -> None:
    try:
      action()
    except Exception as error:  # Orbax's threads raise errors of any kind.
      raise OSError(
        f"A checkpoint in {self._folder} could not be written"
        f" ({_brief(error)}). Earlier ones are kept: make room, or check the"
        " folder's permissions, and start again."
      ) from error


def _items(state: State) -> dict[str, PyTree]:
  """Returns the parts of a state that become items of a checkpoint."""
  return {
    "params": state.fit.params,
    "ema": state.ema,
    "constants": state.fit.constants,
    "optimizer": state.fit.optimizer,
    # Saved only if it is not 0.
    "skipped": {"steps": state.skipped},
  }


def _without_empty(items):
  # Orbax writes no empty items, such as the constants of a model without any.
  return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}


def _quality(metrics):
  return -ranking(metrics)[1]


def _brief(error):
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:200]
