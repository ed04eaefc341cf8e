"""Diagnosis of a training step that is not finite, and a file to repeat it.

  python -m cinn_jax.training.diagnosis workdirs/run/diverged/step_000123.npz

prints the first part of the network with a number that is not finite.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cinn_jax.bijections.base import PyTree
from cinn_jax.experiment.build import build
from cinn_jax.flow import Flow
from cinn_jax.runtime import storage
from cinn_jax.tasks import Task
from cinn_jax.training.step import loss_key

_METHODS = ("forward", "__call__")


def diagnose(
  flow: Flow,
  task: Task,
  variables: PyTree,
  batch: Mapping[str, Any],
  *,
  seed: int,
  step: int,
) -> str:
  """Names the first part of the network with a number that is not finite.

  Runs the step's forward pass part by part, uncompiled. If all of it is finite,
  names the first gradient that is not.

  Args:
    flow: The flow of the run.
    task: The task of the run.
    variables: Variables before the step.
    batch: The step's batch, from the loader.
    seed: Seed of the run, for the noise.
    step: The step, counted from 1, for the noise.
  """
  rng = jax.random.fold_in(jax.random.key(seed), step - 1)
  x, cond = task.add_noise(rng, *task.prepare(batch))
  for name, tree in (("the data", x), ("the condition", cond)):
    if not _is_finite(tree):
      return f"{name} of the step"
  if bad := _not_finite(variables):
    return f"{_name(bad[0])} before the step"
  run = _function(flow, rng)
  with jax.disable_jit():
    part = _first_part(run, variables, x, cond)
  return part or _first_gradient(flow, run, variables, x, cond)


def _function(flow, rng):
  """Returns what a step runs: `(variables, x, cond) -> arrays`."""
  if flow.objective is None:
    return flow.forward
  return lambda variables, x, cond: flow.objective.loss(
    variables, loss_key(rng), x, cond
  )


def _first_part(run, variables, x, cond):
  first, calls = None, {}

  def check(method, arguments, options, context):
    nonlocal first
    result = method(*arguments, **options)
    if first or context.method_name not in _METHODS:
      return result
    try:
      finite = _is_finite(result)
    except jax.errors.TracerArrayConversionError:
      # A scan that is being set up has no values yet.
      return result
    path = "/".join(context.module.path) or "the flow"
    calls[path] = calls.get(path, 0) + 1
    if not finite:
      kind = type(context.module).__name__
      first = f"{path} ({kind}, call {calls[path]})"
    return result

  with nn.intercept_methods(check):
    result = run(variables, x, cond)
  if not first and not _is_finite(result):
    return "the latents"
  return first


def _first_gradient(flow, run, variables, x, cond):
  def loss(variables):
    if flow.objective is not None:
      return run(variables, x, cond)[0]
    return jnp.mean(flow.log_prob(variables, x, cond).total)

  constants = {k: v for k, v in variables.items() if k != "params"}
  value, grads = jax.jit(
    jax.value_and_grad(lambda p: loss({"params": p, **constants}))
  )(variables["params"])
  if bad := _not_finite(grads):
    return f"the gradient of {_name(bad[0])} (and {len(bad) - 1} more)"
  if not jnp.isfinite(value):
    return "the log-likelihood"
  return "nothing when run again"


def dump(
  path: str | os.PathLike[str],
  *,
  config: Mapping[str, Any],
  variables: PyTree,
  batch: Mapping[str, Any],
  step: int,
) -> None:
  """Writes a file for `reproduce`, with arrays and JSON but no code.

  Args:
    path: The file.
    config: Config of the run.
    variables: Variables before the step.
    batch: The step's batch, from the loader.
    step: The step, counted from 1.
  """
  arrays = {
    **_flat("variables", variables),
    **_flat("batch", batch),
    "step": np.int64(step),
    "config": np.array(json.dumps(config)),
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  storage.write_whole(path, file.getvalue())


def reproduce(path: str | os.PathLike[str]) -> str:
  """Runs `diagnose` on a file from `dump`.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if it is not a file from `dump`.
  """
  content = io.BytesIO(storage.path(path).read_bytes())
  try:
    with np.load(content, allow_pickle=False) as file:
      arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    step = int(arrays.pop("step"))
    tree = traverse_util.unflatten_dict(arrays, sep="/")
    tree = {name: tree[name] for name in ("variables", "batch")}
  except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
    raise ValueError(
      f"{path} is not from a run that diverged, or it is damaged: expected"
      " workdirs/RUN/diverged/step_NUMBER.npz."
    ) from None
  flow, task = build(config)
  return diagnose(
    flow,
    task,
    tree["variables"],
    tree["batch"],
    seed=config["train"]["seed"],
    step=step,
  )


def _flat(name, tree):
  return traverse_util.flatten_dict({name: jax.device_get(tree)}, sep="/")


def _is_finite(tree):
  return not _not_finite(tree)


def _not_finite(tree):
  """Returns the paths of a tree's arrays that are not finite everywhere."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [
    path
    for path, leaf in leaves
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    and not np.isfinite(np.asarray(leaf, np.float64)).all()
  ]


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _run(path: str) -> None:
  print(f"Not finite: {reproduce(path)}.")


if __name__ == "__main__":
  # Imported here: its flags belong to commands, and training imports this file.
  from cinn_jax import cli

  cli.run(_run, argument="workdirs/RUN/diverged/step_000123.npz")
