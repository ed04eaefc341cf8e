"""A flow and its variables in one file, for other machines and programs.

The file is a `tensor_file` with all collections of the variables. Its
description has:

  format_version   see `tensor_file`
  versions         versions of cinn_jax and jax that wrote the file
  event_shape      as in `make_flow`
  cond_shape       as in `make_flow`, in the form of `architecture`
  architecture     the flow's module, see `bijections.architecture`, or null
  no_architecture  the reason, if that is null
  base             base distribution, {"student_t": freedom}, if not N(0, I)
  empty            names of collections without arrays
  run              from `export`: the step, the config's sections task and
                   model, and the name of its data source
"""

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from cinn_jax.bijections import (
  REPORTS,
  Bijection,
  architecture,
  standardization,
)
from cinn_jax.bijections.arguments import variables_of
from cinn_jax.bijections.base import PyTree
from cinn_jax.bijections.shapes import map_shapes
from cinn_jax.flow import Flow, make_flow
from cinn_jax.likelihood import StudentT
from cinn_jax.models import comparators
from cinn_jax.runtime import storage
from cinn_jax.workdir import shipped, tensor_file
from cinn_jax.workdir.half import to_half
from cinn_jax.workdir.trained import restore

_SUFFIX = ".safetensors"


def save(
  path: str | os.PathLike[str],
  flow: Flow,
  variables: Mapping[str, PyTree],
  *,
  run: Mapping[str, Any] | None = None,
) -> None:
  """Writes a flow and its variables to one file, for `load`.

  >>> import cinn_jax, jax, pathlib, tempfile
  >>> flow = cinn_jax.make_flow(cinn_jax.vector_flow(2), (2,))
  >>> x = jax.random.normal(jax.random.key(0), (8, 2))
  >>> variables = flow.init(jax.random.key(1), x)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   path = pathlib.Path(folder) / "flow.safetensors"
  ...   cinn_jax.save(path, flow, variables)
  ...   flow, variables = cinn_jax.load(path)
  >>> flow.log_prob(variables, x).total.shape
  (8,)

  The architecture is saved too if all of it comes from this package, functions
  from `jax.nn` and modules from `flax.linen`. Otherwise the file has only the
  variables, and `load` needs the flow.

  Args:
    path: The file, local or in gs://. It is written whole or not at all.
    flow: From `make_flow`.
    variables: From `flow.init`, `fit` or `load`.
    run: The facts that `export` writes about a run, see the head of this file.

  Raises:
    ValueError: if the variables are not the flow's, or have a type that the
      format lacks.
    OSError: if the file cannot be written.
  """
  _write(path, flow, variables, **({} if run is None else {"run": run}))


def export(
  workdir: str | os.PathLike[str],
  path: str | os.PathLike[str],
  *,
  half: bool = False,
) -> None:
  """Writes the trained run of a workdir to one file, for `load`.

  Args:
    workdir: As for `restore`, whose errors this raises too.
    path: As for `save`.
    half: Stores the parameters of networks in float16, see `to_half`.
  """
  trained = restore(workdir)
  run = {
    "step": trained.step,
    "task": trained.config["task"],
    "model": trained.config["model"],
    # An evaluation's pictures depend on all but the paths of this machine.
    "data": {
      name: value
      for name, value in trained.config["data"].items()
      if name not in ("path", "cache")
    },
    # An evaluation's noise depends on them.
    "train": {
      name: trained.config["train"][name] for name in ("batch_size", "seed")
    },
  }
  variables = to_half(trained.variables) if half else trained.variables
  _write(path, trained.flow, variables, run=run)


def load(
  path: str | os.PathLike[str], flow: Flow | None = None
) -> tuple[Flow, dict[str, PyTree]]:
  """Loads a trained flow from a file or a workdir: `(flow, variables)`.

  >>> import cinn_jax, jax
  >>> flow, variables = cinn_jax.load("workdirs/mnist-digits")
  >>> three = jax.nn.one_hot([3], 10)
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(0), three, num_samples=4
  ... )
  >>> x.shape, log_prob.shape
  ((1, 4, 8, 8, 1), (1, 4))

  `flow.event_shape` and `flow.cond_shape` are the shapes of its inputs. For a
  workdir, `restore` also returns the task, which prepares them from pictures.

  Args:
    path: A file from `save` or `--mode=export`, a workdir, or the name of a
      flow that comes with the package, as for `restore`. The name of a file in
      gs:// ends in ".safetensors".
    flow: The flow whose variables the file holds, if it has no architecture.

  Returns:
    The flow, and its variables, with the types and values that were saved.
    Arrays of 64 bits are NumPy's unless `jax_enable_x64` is on.

  Raises:
    FileNotFoundError: if the file does not exist, or the workdir holds no
      checkpoint.
    ValueError: if the file is damaged, not from `save`, from a newer version,
      or has no architecture and `flow` is None; or if names, shapes or types of
      its variables are not the flow's (any floating-point type will do).
    saved.Damaged: if no checkpoint of the workdir can be read.
  """
  if _is_file(path) and not shipped.find(path):
    return _read(path, flow)
  if flow is not None:
    raise ValueError(
      f"{os.fspath(path)} has a flow of its own: leave out the argument flow."
    )
  trained = restore(path)
  return trained.flow, trained.variables


def _is_file(path):
  if storage.in_bucket(path):
    return os.fspath(path).endswith(_SUFFIX)
  place = storage.path(path)
  return place.is_file() or (place.suffix == _SUFFIX and not place.is_dir())


def _write(path, flow, variables, **more):
  whole = variables_of(variables)
  variables = {k: v for k, v in whole.items() if k not in REPORTS}
  _check(flow, flow.cond_shape, variables, "These variables do")
  description = {
    "versions": {"cinn_jax": _version(), "jax": jax.__version__},
    "event_shape": flow.event_shape,
    "cond_shape": architecture.describe(flow.cond_shape),
    **more,
  }
  if flow.base is not None:
    # Earlier readers would assume normal latents.
    description["format_version"] = tensor_file.FORMAT_VERSION
    description["base"] = {"student_t": flow.base.freedom}
  try:
    description["architecture"] = architecture.describe(flow.module)
  except architecture.Unknown as error:
    description["architecture"] = None
    description["no_architecture"] = str(error)
  tensor_file.write(path, variables, description)


def _version():
  try:
    return importlib.metadata.version("cinn_jax")
  except importlib.metadata.PackageNotFoundError:
    return None


def _read(path, flow):
  variables, description = tensor_file.read(path)
  described = description.get("architecture")
  is_users = flow is not None
  if described is None and not is_users:
    reason = description.get("no_architecture")
    raise ValueError(
      f"{path} holds variables without an architecture ({reason}): pass the"
      " flow, load(path, flow=make_flow(...))."
    )
  try:
    event_shape, cond_shape = _shapes(description)
    base = _base(description)
    if not is_users:
      module = architecture.build(described)
      if isinstance(module, comparators.Answer):
        flow = comparators.make(module, event_shape, cond_shape)
      elif isinstance(module, Bijection):
        flow = make_flow(module, event_shape, cond_shape, base=base)
      else:
        raise ValueError(f"{type(module).__name__} is not a bijection")
  except (KeyError, TypeError, ValueError) as error:
    reason = str(error).rstrip(".")
    raise ValueError(f"{path}: its flow cannot be built ({reason}).") from None
  if event_shape != flow.event_shape:
    raise ValueError(
      f"{path} is for x of shape {list(event_shape)}, but the flow takes"
      f" {list(flow.event_shape)}."
    )
  if base != flow.base:
    raise ValueError(
      f"{path} is for a flow with base {base}, but the flow has {flow.base}:"
      " pass make_flow(..., base=...)."
    )
  if flow.cond_shape is not None:
    cond_shape = flow.cond_shape
  _check(flow, cond_shape, variables, f"{path} does", is_strict=is_users)
  return flow, jax.tree.map(_to_jax, variables)


def _shapes(description):
  event_shape, cond_shape = description["event_shape"], None
  if (described := description["cond_shape"]) is not None:
    cond_shape = architecture.build(described)
  sides = jax.tree.leaves((event_shape, cond_shape))
  if not isinstance(event_shape, list) or not all(
    isinstance(side, int) for side in sides
  ):
    raise ValueError(f"odd shapes {event_shape}, {cond_shape}")
  return tuple(event_shape), cond_shape


def _base(description):
  if (described := description.get("base")) is None:
    return None
  return StudentT(described["student_t"])


def _check(flow, cond_shape, variables, subject, *, is_strict=False):
  """Raises ValueError unless the variables are those of the flow.

  If the condition's shape is unknown, differences may be due to the condition,
  and count only if `is_strict`.
  """
  # `fit` adds it; its shapes follow from the data.
  variables = standardization.with_standardization(variables, {})
  is_known = cond_shape is not None
  cond = map_shapes(_abstract, cond_shape) if is_known else None
  x, key = _abstract(flow.event_shape), jax.random.key(0)
  hint = ""
  if not is_known:
    hint = " If the flow takes a condition, give make_flow its cond_shape."
  try:
    wanted = jax.eval_shape(flow.init, key, x, cond)
  except (AttributeError, TypeError, ValueError) as error:
    if is_known or is_strict:
      raise ValueError(
        f"{subject} not fit the flow, which cannot be initialised ({error})."
        f"{hint}"
      ) from None
    return
  if absent := sorted(set(wanted) - set(variables)):
    raise ValueError(
      f"{subject} not fit the flow: there is no collection {absent[0]!r}."
    )
  wrong = _differences(variables, wanted, further=not is_known)
  if wrong and (is_known or is_strict):
    more = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
    raise ValueError(f"{subject} not fit the flow: {wrong[0]}{more}.{hint}")


def _abstract(shape):
  return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def _differences(variables, wanted, *, further):
  """Lists differences; with `further`, variables of a condition are ignored."""
  got = traverse_util.flatten_dict(variables, sep="/")
  wanted = traverse_util.flatten_dict(wanted, sep="/")
  names = wanted if further else {**wanted, **got}
  return [
    line
    for name in names
    if (line := _difference(name, got.get(name), wanted.get(name)))
  ]


def _difference(name, got, wanted):
  if got is None:
    return f"it lacks {name}"
  if wanted is None:
    return f"the flow has no {name}"
  if not hasattr(got, "shape"):
    return f"{name} is {type(got).__name__}, not an array"
  if got.shape != wanted.shape:
    return f"{name} has shape {list(got.shape)}, not {list(wanted.shape)}"
  # Floats of another precision are fine: users cast them.
  if _kind(got) != _kind(wanted):
    return f"{name} is {got.dtype}, not {wanted.dtype}"
  return ""


def _kind(leaf):
  is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
  return jnp.floating if is_float else leaf.dtype


def _to_jax(leaf):
  # JAX would truncate 64 bits to 32.
  is_whole = jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype
  return jnp.asarray(leaf) if is_whole else leaf
