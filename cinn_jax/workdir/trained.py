"""The trained run of a workdir: its flow, task, config and variables."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from cinn_jax.data import derived, loader
from cinn_jax.experiment.build import abstract_variables, build, open_source
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task
from cinn_jax.workdir import saved
from cinn_jax.workdir.checkpoint import Checkpoints


class Trained(NamedTuple):
  """What a workdir's newest checkpoint holds, ready to run.

  Attributes:
    step: of the checkpoint.
    config: of the run, as a dict.
    flow, task: built from it.
    variables: the averaged ones (EMA).
  """

  step: int
  config: Mapping[str, Any]
  flow: Flow
  task: Task
  variables: Any

  def pictures(self, split: str = "test", count: int = 16) -> dict[str, Any]:
    """Some pictures of the run's data, as `task.prepare` takes them.

    Args:
      split: "train", "validation" or "test".
      count: at most; spread evenly over the split.

    Returns:
      "image" uint8 [count, S, S, 3], S being `task.image_size`, and what else
      the records hold, such as "label" int32 [count].
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


def restore(workdir, data: Mapping | None = None) -> Trained:
  """The trained experiment of a workdir: its flow, variables, task and config.

  >>> import cinn_jax, jax
  >>> trained = cinn_jax.restore("workdirs/mnist-digits")
  >>> flow, task, variables = trained.flow, trained.task, trained.variables

  The task turns pictures into what the flow takes, and samples into pictures:

  >>> x, cond = task.prepare(trained.pictures("test", count=2))
  >>> x.shape, cond.shape
  ((2, 8, 8, 1), (2, 10))
  >>> x, _ = flow.sample(variables, jax.random.key(0), cond)
  >>> task.render(x[:, 0], cond).shape
  (2, 8, 8, 3)

  Args:
    workdir: of a run of `python -m cinn_jax.main`, or of `training.train`; a
      folder, or gs://BUCKET/FOLDER with the extra `gcs`.
    data: overrides settings of the run's config in the section of that name,
      for other pictures.

  Returns:
    `Trained(step, config, flow, task, variables)`, of the newest intact
    checkpoint.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
    saved.Damaged: where none can be read.
  """
  saved.saved_steps(workdir)  # Before Orbax makes the folder.
  checkpoints = Checkpoints(workdir)

  def read(step):
    config = saved.read_config(workdir, step)
    config["data"].update(data or {})
    flow, task = build(config)
    abstract = _on_one_device(abstract_variables(flow, task))
    variables = checkpoints.restore_variables(step, abstract)
    return Trained(step, config, flow, task, variables)

  try:
    return saved.newest_intact(workdir, read)[1]
  finally:
    checkpoints.close()


def _on_one_device(abstract):
  """Shapes for one device, whatever the number that trained."""
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
    abstract,
  )


def load(workdir) -> tuple[Flow, Any]:
  """The trained flow of a workdir: `(flow, variables)`.

  >>> import cinn_jax, jax
  >>> flow, variables = cinn_jax.load("workdirs/mnist-digits")
  >>> three = jax.nn.one_hot([3], 10)
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(0), three, num_samples=4
  ... )
  >>> x.shape, log_prob.shape
  ((1, 4, 8, 8, 1), (1, 4))

  `flow.event_shape` and `flow.cond_shape` say what it takes; `restore` has the
  task beside it, which makes that of pictures.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  trained = restore(workdir)
  return trained.flow, trained.variables
