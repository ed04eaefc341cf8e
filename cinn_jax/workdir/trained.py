"""A trained run: its flow, task and variables, from a workdir or a file."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util

from cinn_jax.bijections.base import PyTree
from cinn_jax.data import derived, loader
from cinn_jax.experiment import recipes
from cinn_jax.experiment.build import abstract_variables, build, open_source
from cinn_jax.flow import Flow
from cinn_jax.runtime import storage
from cinn_jax.tasks import Task
from cinn_jax.workdir import saved, shipped, tensor_file
from cinn_jax.workdir.checkpoint import Checkpoints


class Trained(NamedTuple):
  """A trained run, restored from its newest checkpoint.

  Attributes:
    step: Step of the checkpoint.
    config: Config of the run, as a dict.
    flow: The flow that the config describes.
    task: The task that the config describes.
    variables: Variables of the flow, with averaged parameters (EMA).
    digest: Hexadecimal digits that identify the variables.
  """

  step: int
  config: Mapping[str, Any]
  flow: Flow
  task: Task
  variables: dict[str, PyTree]
  digest: str = ""

  def pictures(self, split: str = "test", count: int = 16) -> dict[str, Any]:
    """Returns a batch of the run's data, for `task.prepare`.

    Args:
      split: "train", "validation" or "test".
      count: Number of pictures, spread evenly over the split; fewer if the
        split has fewer.

    Returns:
      A dict with "image", uint8 [count, S, S, 3], where S is `task.image_size`,
      and other fields of the records, such as "label", int32 [count].
    """
    source = open_source(self.config, self.task, split)
    count = min(count, len(source))
    batch = next(
      loader.evaluation_batches(
        derived.Spread(source, count),
        image_size=self.task.image_size,
        batch_size=count,
      )
    )
    batch.pop("mask")
    return batch


def restore(
  workdir: str | os.PathLike[str], data: Mapping[str, Any] | None = None
) -> Trained:
  """Restores a trained run: its flow, variables, task and config.

  >>> import cinn_jax, jax
  >>> trained = cinn_jax.restore("workdirs/mnist-digits")
  >>> flow, task, variables = trained.flow, trained.task, trained.variables

  The task turns pictures into the flow's inputs, and samples into pictures:

  >>> x, cond = task.prepare(trained.pictures("test", count=2))
  >>> x.shape, cond.shape
  ((2, 8, 8, 1), (2, 10))
  >>> x, _ = flow.sample(variables, jax.random.key(0), cond)
  >>> task.render(x[:, 0], cond).shape
  (2, 8, 8, 3)

  Args:
    workdir: Folder of a run of `python -m cinn_jax.main` or `training.train`;
      gs://BUCKET/FOLDER needs the extra `gcs`. Or a file from `--mode=export`,
      or the name of a flow that comes with the package, "photographs" or
      "mnist".
    data: Settings that override the section `data` of the run's config, for
      other pictures.

  Returns:
    `Trained(step, config, flow, task, variables)` from the newest intact
    checkpoint.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
    ValueError: for a file that is damaged or not from `--mode=export`.
    saved.Damaged: if no checkpoint can be read.
  """
  if file := _file(workdir):
    return _from_file(file, data)
  saved.saved_steps(workdir)  # Raises before Orbax creates the folder.
  checkpoints = Checkpoints(workdir)

  def read(step):
    config = saved.read_config(workdir, step)
    config["data"].update(data or {})
    flow, task = build(config)
    abstract = _on_one_device(abstract_variables(flow, task))
    variables = checkpoints.restore_variables(step, abstract)
    checksums = json.dumps(saved.read_checksums(workdir, step), sort_keys=True)
    digest = hashlib.sha256(checksums.encode()).hexdigest()[:16]
    return Trained(step, config, flow, task, variables, digest)

  try:
    return saved.newest_intact(workdir, read)[1]
  finally:
    checkpoints.close()


def _on_one_device(abstract):
  """Places shapes on one device, whatever devices the run trained on."""
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
    abstract,
  )


def _file(path):
  """Returns the file that a path names, or None if it names a workdir."""
  if named := shipped.find(path):
    return named
  place = storage.path(path)
  return place if place.suffix == ".safetensors" else None


def _from_file(file, data):
  variables, description = tensor_file.read(file)
  run = description.get("run")
  if run is None:
    raise ValueError(
      f"{file} holds a flow without a task: cinn_jax.load reads it. Expected a"
      " file from --mode=export, or a workdir."
    )
  config = {
    "data": {**recipes.DATA, **run.get("data", {}), **(data or {})},
    "task": run["task"],
    "model": run["model"],
    # For evaluation. Earlier files have no settings of training.
    "train": {"batch_size": 16, "seed": 0, **run.get("train", {})},
  }
  flow, task = build(config)
  wanted = traverse_util.flatten_dict(abstract_variables(flow, task))
  got = traverse_util.flatten_dict(variables)
  if {k: v.shape for k, v in wanted.items()} != {
    k: v.shape for k, v in got.items()
  }:
    raise ValueError(
      f"{file} does not fit the network that it names: it is from another"
      " version of cinn_jax."
    )
  # Files may hold float16, to be small; flows compute in float32.
  cast = {k: jnp.asarray(v, wanted[k].dtype) for k, v in got.items()}
  digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
  variables = traverse_util.unflatten_dict(cast)
  return Trained(run["step"], config, flow, task, variables, digest)
