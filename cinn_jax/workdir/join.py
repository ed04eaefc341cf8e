"""Joins the levels of a pyramid, trained one by one, into a file (a command).

  python -m cinn_jax.workdir.join --config=configs/colorize.py:photographs \\
    --levels=levels --output=photographs.safetensors --half

`--levels` is a folder with a file from `training.budget` for each level, named
by its cells: 8.safetensors, 16.safetensors and so on. `--half` stores the
parameters of networks in float16.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import flags

from cinn_jax import cli
from cinn_jax.bijections.base import PyTree
from cinn_jax.experiment.build import build
from cinn_jax.flow import Flow
from cinn_jax.models.pyramid import PyramidFlow
from cinn_jax.runtime import storage
from cinn_jax.workdir import portable, tensor_file
from cinn_jax.workdir.half import to_half


def join(
  config: Mapping[str, Any], levels: str | os.PathLike[str]
) -> tuple[Flow, dict[str, PyTree]]:
  """Returns the flow of all levels, and its variables.

  Args:
    config: The config of the pyramid, with the sections `model` and `task`.
    levels: The folder of the levels' files.

  Raises:
    FileNotFoundError: if the file of a level is missing.
    ValueError: if the config's model is not a pyramid, or if the file of a
      level holds another level.
  """
  flow, _ = build(config)
  module = flow.module
  if not isinstance(module, PyramidFlow):
    raise ValueError(
      "Only pyramids have levels to join: pass"
      " --config=configs/colorize.py:photographs or :pyramid."
    )
  joined: dict[str, dict[str, Any]] = {}
  for name in module.levels:
    path = pathlib.Path(levels) / f"{name}.safetensors"
    variables, _ = tensor_file.read(path)
    part = f"levels_{name}"
    if part not in variables.get("params", {}):
      raise ValueError(f"{path} does not hold the level of {name} cells.")
    for collection, tree in variables.items():
      if part in tree:
        joined.setdefault(collection, {})[part] = tree[part]
  if module.features is not None:
    shape = (1, *jax.tree.leaves(flow.cond_shape, is_leaf=_is_shape)[-1])
    lightness = np.zeros(shape, np.float32)
    constants = module.features.init(jax.random.key(0), lightness)["constants"]
    joined.setdefault("constants", {})["features"] = constants
  return flow, joined


def _is_shape(node):
  return isinstance(node, tuple)


def _run():
  config = cli.CONFIG.value.to_dict()
  flow, variables = join(config, _LEVELS.value)
  if _HALF.value:
    variables = to_half(variables)
  run = {"step": 0, "task": config["task"], "model": config["model"]}
  portable.save(_OUTPUT.value, flow, variables, run=run)
  size = storage.path(_OUTPUT.value).stat().st_size
  print(f"Wrote {_OUTPUT.value}, {size / 1e6:.2f} MB.")


if __name__ == "__main__":
  # Defined only here, because other commands have flags with these names.
  flags.adopt_module_key_flags(cli)
  _LEVELS = flags.DEFINE_string("levels", None, "The folder of the levels.")
  _OUTPUT = flags.DEFINE_string("output", None, "The file to write.")
  _HALF = flags.DEFINE_bool("half", False, "Store networks in float16.")
  cli.run(_run, required=["config", "levels", "output"])
