"""Where a step that is not finite went wrong, and a file that shows it again.

python -m cinn_jax.training.diagnosis workdirs/run/diverged/step_000123.npz
"""

import io
import json
import sys
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cinn_jax.experiment.build import build
from cinn_jax.flow import Flow
from cinn_jax.runtime import storage
from cinn_jax.tasks import Task

_METHODS = ("forward", "__call__")


def diagnose(flow: Flow, task: Task, variables, batch, *, seed, step) -> str:
  """The first part of the network with a number that is not finite, in words.

  Runs the forward pass of `step` part by part, uncompiled; where all of it is
  finite, looks for the gradients that are not.

  Args:
    variables: before the step.
    batch: of the step, as the loader gives it.
    seed, step: of the run; they determine the step's noise.
  """
  rng = jax.random.fold_in(jax.random.key(seed), step - 1)
  x, cond = task.add_noise(rng, *task.prepare(batch))
  for name, tree in (("the data", x), ("the condition", cond)):
    if not _is_finite(tree):
      return f"{name} of the step"
  if bad := _not_finite(variables):
    return f"{_name(bad[0])} before the step"
  with jax.disable_jit():
    found = _first_part(flow, variables, x, cond)
  return found or _first_gradient(flow, variables, x, cond)


def _first_part(flow, variables, x, cond):
  found, calls = [], {}

  def watch(method, arguments, options, context):
    result = method(*arguments, **options)
    leaves = jax.tree.leaves(result)
    # While a scan is being set up its values are not there yet.
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
      return result
    path = "/".join(context.module.path) or "the flow"
    if context.method_name in _METHODS:
      calls[path] = calls.get(path, 0) + 1
      if not found and not _is_finite(leaves):
        kind = type(context.module).__name__
        found.append(f"{path} ({kind}, call {calls[path]})")
    return result

  with nn.intercept_methods(watch):
    z, log_det = flow.forward(variables, x, cond)
  if not found and not _is_finite((z, log_det)):
    return "the latents"
  return found[0] if found else None


def _first_gradient(flow, variables, x, cond):
  def loss(variables):
    return jnp.mean(flow.log_prob(variables, x, cond).total)

  constants = {k: v for k, v in variables.items() if k != "params"}
  value, grads = jax.jit(
    jax.value_and_grad(lambda p: loss({"params": p, **constants}))
  )(variables["params"])
  if bad := _not_finite(grads):
    return f"the gradient of {_name(bad[0])} (and {len(bad) - 1} more)"
  if not jnp.isfinite(value):
    return "the log-likelihood"
  return "nothing, when run again"


def dump(path, *, config, variables, batch, step):
  """Writes what `reproduce` needs: arrays and JSON, nothing executable."""
  arrays = {
    **_flat("variables", variables),
    **_flat("batch", batch),
    "step": np.int64(step),
    "config": np.array(json.dumps(config)),
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  storage.write_whole(path, file.getvalue())


def reproduce(path) -> str:
  """`diagnose` of a step that `dump` wrote.

  Raises:
    OSError: where the file cannot be read.
    ValueError: where it is none of `dump`.
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
      f"{path} is not what a run that diverged leaves, or is damaged: expected"
      " workdirs/RUN/diverged/step_NUMBER.npz."
    ) from None
  flow, task = build(config)
  return diagnose(
    *(flow, task, tree["variables"], tree["batch"]),
    seed=config["train"]["seed"],
    step=step,
  )


def _flat(name, tree):
  return traverse_util.flatten_dict({name: jax.device_get(tree)}, sep="/")


def _is_finite(tree):
  return not _not_finite(tree)


def _not_finite(tree):
  """Paths of the arrays of a tree that have a number that is not finite."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [
    path
    for path, leaf in leaves
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    and not np.isfinite(np.asarray(leaf, np.float64)).all()
  ]


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator="/")


def main(arguments):
  """Prints what `reproduce` says of one file, or one line on what is wrong."""
  if len(arguments) != 1:
    sys.exit(
      "Error: expected one file, such as workdirs/RUN/diverged/step_000123.npz."
    )
  try:
    print(f"Not finite: {reproduce(*arguments)}.")
  except (OSError, ValueError) as error:
    sys.exit(f"Error: {error}")


if __name__ == "__main__":
  main(sys.argv[1:])
