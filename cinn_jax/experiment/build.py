"""Builds the parts of a run from its config: flow, task and pictures."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinn_jax import models, tasks
from cinn_jax.bijections import Bijection
from cinn_jax.bijections.base import PyTree
from cinn_jax.bijections.shapes import map_shapes
from cinn_jax.data import derived, sources
from cinn_jax.data.base import Source
from cinn_jax.flow import Flow, make_flow
from cinn_jax.models import comparators
from cinn_jax.tasks import Task


def build(config: Mapping[str, Any]) -> tuple[Flow, Task]:
  """Builds the flow and the task of a config's sections `model` and `task`.

  Raises:
    ValueError: for an unknown model or task, or for settings that it does not
      have.
  """
  task = build_task(**_plain(config["task"]))
  model = build_model(**_plain(config["model"]))
  if isinstance(model, comparators.Answer):
    return comparators.make(model, task.event_shape, task.cond_shape), task
  return make_flow(model, task.event_shape, task.cond_shape), task


def build_model(name: str, **settings: Any) -> Bijection | comparators.Answer:
  """Builds the model `name`, a flow's or a comparator's; raises as `build`.

  The names are those of `models.BUILDERS` and `comparators.BUILDERS`.
  """
  builders = {**models.BUILDERS, **comparators.BUILDERS}
  return _build("model", builders, name, settings)


def build_task(name: str, **settings: Any) -> Task:
  """Builds the task `name` of `tasks.BUILDERS`; raises as `build` does."""
  return _build("task", tasks.BUILDERS, name, settings)


def _build(
  kind: str,
  builders: Mapping[str, Any],
  name: str,
  settings: Mapping[str, Any],
):
  if name not in builders:
    raise ValueError(
      f"Unknown {kind} {name!r}; there are {', '.join(sorted(builders))}."
    )
  try:
    inspect.signature(builders[name]).bind(**settings)
  except TypeError as error:
    raise ValueError(
      f"The settings of {kind} {name!r} do not fit ({error}): take a --config"
      f" that has this {kind}, or change its section {kind!r}."
    ) from None
  return builders[name](**settings)


def open_source(config: Mapping[str, Any], task: Task, split: str) -> Source:
  """Opens a split of the pictures of a config's section `data`.

  Labels are checked if the task takes any. See `sources.open_source`.

  Args:
    config: The config of a run.
    task: The task that the pictures are for.
    split: "train", "validation" or "test".
  """
  options = _plain(config["data"])
  source = sources.open_source(options.pop("source"), split, **options)
  if not task.num_classes:
    return source
  return derived.Labelled(source, task.num_classes)


def abstract_cond(task: Task) -> PyTree:
  """Returns the shapes and types of a batch of one condition."""
  return map_shapes(
    lambda shape: jax.ShapeDtypeStruct((1, *shape), jnp.float32),
    task.cond_shape,
  )


def abstract_variables(flow: Flow, task: Task) -> dict[str, PyTree]:
  """Returns the shapes and types of the flow's variables; allocates nothing."""
  x = jax.ShapeDtypeStruct((1, *task.event_shape), jnp.float32)
  return jax.eval_shape(flow.init, jax.random.key(0), x, abstract_cond(task))


def _plain(section):
  """Converts a config's section to keyword arguments."""
  return section.to_dict() if hasattr(section, "to_dict") else dict(section)
