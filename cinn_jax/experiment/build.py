"""From a config to what runs: the flow, its task and its pictures."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinn_jax import models, tasks
from cinn_jax.bijections import Bijection
from cinn_jax.data import derived, sources
from cinn_jax.data.base import Source
from cinn_jax.flow import Flow, make_flow, map_shapes
from cinn_jax.tasks import Task


def build(config: Mapping) -> tuple[Flow, Task]:
  """Returns the flow and the task that a config's sections describe.

  Raises:
    ValueError: for an unknown name in `model` or `task`, or settings that it
      does not have.
  """
  task = build_task(**_plain(config["task"]))
  model = build_model(**_plain(config["model"]))
  return make_flow(model, task.event_shape, task.cond_shape), task


def build_model(name: str, **settings) -> Bijection:
  """Returns the model `name` of `models.BUILDERS`; raises as `build` does."""
  return _build("model", models.BUILDERS, name, settings)


def build_task(name: str, **settings) -> Task:
  """Returns the task `name` of `tasks.BUILDERS`; raises as `build` does."""
  return _build("task", tasks.BUILDERS, name, settings)


def _build(
  kind: str,
  builders: Mapping[str, Callable],
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
      f"The settings of {kind} {name!r} do not fit ({error}): take the --config"
      f" of another, or change its section {kind!r}."
    ) from None
  return builders[name](**settings)


def open_source(config: Mapping, task: Task, split: str) -> Source:
  """Opens a split of the pictures in a config's `data`.

  See `sources.open_source`. Labels are checked if the task takes any.
  """
  options = _plain(config["data"])
  source = sources.open_source(options.pop("source"), split, **options)
  if not task.num_classes:
    return source
  return derived.Labelled(source, task.num_classes)


def abstract_cond(task: Task) -> Any:
  """Returns the shapes and types of one condition, a batch of 1."""
  return map_shapes(
    lambda shape: jax.ShapeDtypeStruct((1, *shape), jnp.float32),
    task.cond_shape,
  )


def abstract_variables(flow: Flow, task: Task):
  """Shapes and types of the flow's variables, without allocating them."""
  x = jax.ShapeDtypeStruct((1, *task.event_shape), jnp.float32)
  return jax.eval_shape(flow.init, jax.random.key(0), x, abstract_cond(task))


def _plain(section):
  """A config section as keyword arguments, whatever class holds it."""
  return section.to_dict() if hasattr(section, "to_dict") else dict(section)
